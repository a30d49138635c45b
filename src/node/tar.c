#include "src/node/tar.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 512u

/* Offsets of the header's fields. */
enum { NAME = 0, SIZE = 124, CHECKSUM = 148, TYPE = 156, MAGIC = 257, PREFIX = 345 };

/* An octal number, ended by a blank or NUL; false if it is none. */
static bool octal(const char *field, size_t width, uint64_t *value)
{
	size_t i = 0;

	*value = 0;
	while (i < width && field[i] == ' ')
		i++;
	size_t first = i;
	for (; i < width && field[i] >= '0' && field[i] <= '7'; i++)
		*value = *value * 8 + (uint64_t)(field[i] - '0');
	return i > first && (i == width || field[i] == ' ' || field[i] == '\0');
}

static bool checksum_fits(const unsigned char *header)
{
	uint64_t expected, sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= CHECKSUM && i < CHECKSUM + 8 ? ' ' : header[i];
	return octal((const char *)header + CHECKSUM, 8, &expected) && sum == expected;
}

static bool name_is_safe(const char *name)
{
	if (name[0] == '\0' || name[0] == '/')
		return false;
	for (const char *part = name; part; part = strchr(part, '/')) {
		if (*part == '/')
			part++;
		size_t length = strcspn(part, "/");
		if (length == 0 || (length == 1 && part[0] == '.') ||
		    (length == 2 && memcmp(part, "..", 2) == 0))
			return false;
	}
	return true;
}

const char *tar_each(const char *archive, size_t bytes,
		     int (*each)(void *owner, const char *name, const char *data, size_t bytes),
		     void *owner)
{
	size_t at = 0;

	while (bytes - at >= BLOCK) {
		const char *header = archive + at;
		char name[TAR_NAME_BYTES + 1] = {0};
		uint64_t size;

		if (header[NAME] == '\0')
			return NULL; /* the end: blocks of zeros */
		if (memcmp(header + MAGIC, "ustar", 5) != 0 ||
		    !checksum_fits((const unsigned char *)header))
			return at ? "broken header" : "is not a tar archive";
		if (!octal(header + SIZE, 12, &size) || size > bytes - at - BLOCK)
			return "a file reaches past the end";
		memcpy(name, header + NAME, TAR_NAME_BYTES);
		char type = header[TYPE];
		if (type == '0' || type == '\0') {
			const char *relative = strncmp(name, "./", 2) == 0 ? name + 2 : name;
			if (header[PREFIX] != '\0' || name[TAR_NAME_BYTES - 1] != '\0' ||
			    !name_is_safe(relative))
				return "a file name that is too long or leads elsewhere";
			if (each(owner, relative, header + BLOCK, (size_t)size))
				return NULL;
		} else if (type == 'L' || type == 'K' || type == 'S') {
			/* GNU's own: the name in the next header would be cut. */
			return "a long file name or a sparse file";
		}
		size_t padded = ((size_t)size + BLOCK - 1) / BLOCK * BLOCK;
		if (padded > bytes - at - BLOCK)
			return NULL; /* the last file, on a disk cut to its length */
		at += BLOCK + padded;
	}
	return NULL;
}
