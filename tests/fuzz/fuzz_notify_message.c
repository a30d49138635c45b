/* Datagrams of sd_notify: what is read lies within them, is free of newlines, and is shown
 * harmlessly. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/utf8.h"
#include "src/service/notify_message.h"

static void check(const struct notify_text *text, const char *bytes, size_t size)
{
	char shown[32];

	if (!text->at) {
		if (text->length != 0)
			abort();
		return;
	}
	if (text->at < bytes || text->length > size || text->at + text->length > bytes + size ||
	    memchr(text->at, '\n', text->length))
		abort();
	notify_text_plain(text, shown, sizeof(shown));
	for (const char *p = shown; *p; p += utf8_length(p))
		if (utf8_length(p) == 0 || utf8_is_control(p))
			abort();
}

static void check_number(const struct notify_number *number, const char *bytes, size_t size)
{
	check(&number->text, bytes, size);
	if (number->good ? number->text.length == 0 : number->value != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *)data;
	struct notify_message m;

	notify_message_read(bytes, size, &m);
	check(&m.status, bytes, size);
	check(&m.bus_error, bytes, size);
	check_number(&m.main_pid, bytes, size);
	check_number(&m.error, bytes, size);
	check_number(&m.extend_us, bytes, size);
	check_number(&m.watchdog_us, bytes, size);
	return 0;
}
