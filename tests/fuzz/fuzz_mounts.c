/* The list of mounts at the end of a machine: any text is read, and however the attempts go, they
 * come to an end. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/node/mounts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mounts mounts;
	size_t index[16], count, rounds = 0;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	mounts_parse(&mounts, text);
	mounts_root(&mounts);
	while ((count = mounts_next(&mounts, index, 16)) > 0) {
		enum mount_result result[16];
		for (size_t i = 0; i < count; i++) {
			if (mounts.entry[index[i]].path[0] != '/')
				abort();
			result[i] = (enum mount_result)(data[(rounds + i) % size] % 3);
		}
		mounts_told(&mounts, index, result, count);
		if (++rounds > 4 * MOUNTS_MAX)
			abort();
	}
	free(text);
	return 0;
}
