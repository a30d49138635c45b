/* The config disk: any bytes are read to their end or refused, and no name leads out of its
 * directory. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/node/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Some part of the name, between slashes, is "..". */
static int leads_out(const char *name)
{
	for (const char *at = strstr(name, ".."); at; at = strstr(at + 1, ".."))
		if ((at == name || at[-1] == '/') && (at[2] == '\0' || at[2] == '/'))
			return 1;
	return 0;
}

static int each(void *owner, const char *name, const char *data, size_t bytes)
{
	volatile char sum = 0;

	(void)owner;
	if (name[0] == '/' || leads_out(name) || strlen(name) >= TAR_NAME_BYTES)
		abort();
	for (size_t i = 0; i < bytes; i++)
		sum = (char)(sum ^ data[i]);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	tar_each((const char *)data, size, each, NULL);
	return 0;
}
