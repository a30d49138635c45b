/* Content of FastCGI records: pairs lie within it, one behind the other, and written again they are
 * read as the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/fastcgi.h"

static char *copy(const uint8_t *bytes, size_t count)
{
	char *text = malloc(count + 1);

	if (!text)
		abort();
	memcpy(text, bytes, count);
	text[count] = '\0';
	return text;
}

static void write_again(const struct fastcgi_pair *pair)
{
	char *name = copy(pair->name, pair->name_bytes),
	     *value = copy(pair->value, pair->value_bytes);
	size_t room = 8 + strlen(name) + strlen(value), used = 0, at = 0;
	uint8_t *bytes = malloc(room);
	struct fastcgi_pair again;

	if (!bytes || !fastcgi_put_pair(bytes, room, &used, name, value) ||
	    !fastcgi_get_pair(bytes, used, &at, &again) || at != used ||
	    again.name_bytes != strlen(name) || again.value_bytes != strlen(value) ||
	    memcmp(again.name, name, again.name_bytes) != 0 ||
	    memcmp(again.value, value, again.value_bytes) != 0)
		abort();
	free(bytes);
	free(name);
	free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fastcgi_pair pair;
	size_t at = 0, before = 0;

	while (fastcgi_get_pair(data, size, &at, &pair)) {
		if (at <= before || at > size || pair.name < data + before ||
		    pair.value != pair.name + pair.name_bytes ||
		    pair.value + pair.value_bytes != data + at)
			abort();
		write_again(&pair);
		before = at;
	}
	if (at != before)
		abort();
	return 0;
}
