#include "src/config/values.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS (24u * 60 * 60 * 1000)

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads digits at the start of text; the number of bytes read, 0 if there are none, leading zeros
 * or too many. */
static size_t digits(const char *text, uint64_t *out)
{
	size_t length = 0;
	uint64_t value = 0;
	while (digit(text[length])) {
		uint64_t next = (uint64_t)(text[length] - '0');
		if (value > (UINT64_MAX - next) / 10)
			return 0;
		value = value * 10 + next;
		length++;
	}
	if (length > 1 && text[0] == '0')
		return 0;
	*out = value;
	return length;
}

bool value_duration(const struct place *place, const char *text, uint32_t *ms)
{
	static const struct {
		const char *name;
		uint32_t ms;
	} unit[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 60 * 60 * 1000}};

	if (strcmp(text, "none") == 0) {
		*ms = 0;
		return true;
	}
	uint64_t count = 0;
	size_t length = digits(text, &count);
	for (size_t i = 0; length > 0 && i < sizeof(unit) / sizeof(unit[0]); i++) {
		if (strcmp(text + length, unit[i].name) != 0)
			continue;
		if (count == 0)
			return place_expected(place, text, "a duration above 0, or none");
		if (count > DAY_MS / unit[i].ms)
			return place_expected(place, text, "a duration of at most 24h");
		*ms = (uint32_t)count * unit[i].ms;
		return true;
	}
	return place_expected(place, text, "a duration such as 500ms, 5s, 2m, 1h, or none");
}

bool value_size(const struct place *place, const char *text, uint64_t *bytes)
{
	uint64_t count = 0;
	size_t length = digits(text, &count);
	if (length > 0) {
		const char *unit = text + length;
		unsigned shift = *unit == 'K' ? 10 : *unit == 'M' ? 20 : *unit == 'G' ? 30 : 0;
		bool known = *unit == 0 || (shift > 0 && unit[1] == 0);
		if (known && count <= (UINT64_MAX >> shift)) {
			*bytes = count << shift;
			return true;
		}
	}
	return place_expected(place, text, "a size such as 64K, 1M, 2G");
}

bool number_in(const char *text, int64_t least, int64_t most, int64_t *out)
{
	bool minus = least < 0 && text[0] == '-';
	uint64_t count = 0;
	size_t length = digits(text + minus, &count);
	if (length == 0 || text[length + minus] || count > INT64_MAX)
		return false;
	int64_t value = minus ? -(int64_t)count : (int64_t)count;
	if (value < least || value > most)
		return false;
	*out = value;
	return true;
}

bool value_number(const struct place *place, const char *text, int64_t least, int64_t most,
		  int64_t *out)
{
	return number_in(text, least, most, out) ||
	       place_expected(place, text, "a number from %lld to %lld", (long long)least,
			      (long long)most);
}

bool value_bool(const struct place *place, const char *text, bool *out)
{
	bool yes = strcmp(text, "yes") == 0;
	if (!yes && strcmp(text, "no") != 0)
		return place_expected(place, text, "yes or no");
	*out = yes;
	return true;
}

bool value_octal(const struct place *place, const char *text, mode_t *out)
{
	mode_t value = 0;
	size_t length = 0;
	for (; text[length] >= '0' && text[length] <= '7' && length < 5; length++)
		value = value * 8 + (mode_t)(text[length] - '0');
	if (text[0] != '0' || text[length] || length < 3 || length > 4)
		return place_expected(place, text, "octal digits such as 022");
	*out = value;
	return true;
}

bool value_name(const struct place *place, const char *text, char out[NAME_BYTES])
{
	size_t length = 0;
	for (; text[length]; length++) {
		char c = text[length];
		bool first = (c >= 'a' && c <= 'z') || digit(c);
		if (!first && (length == 0 || (c != '.' && c != '-')))
			break;
	}
	if (length == 0 || text[length] || length >= NAME_BYTES)
		return place_expected(
			place, text,
			"a name of at most %d of a-z 0-9 . -, the first a letter or digit",
			NAME_BYTES - 1);
	memset(out, 0, NAME_BYTES); /* to its end: it travels whole */
	memcpy(out, text, length);
	return true;
}

/* An address that a host can have: not the unspecified one, not multicast or reserved. */
static bool ipv4(const char *text, struct in_addr *out)
{
	struct in_addr address;
	if (inet_pton(AF_INET, text, &address) != 1)
		return false;
	uint32_t host = ntohl(address.s_addr);
	if (host == 0 || host >= 0xe0000000u)
		return false;
	*out = address;
	return true;
}

bool value_ipv4(const struct place *place, const char *text, struct in_addr *out)
{
	return ipv4(text, out) || place_expected(place, text, "an IPv4 address of a host");
}

bool value_prefix(const struct place *place, const char *text, struct ipv4_prefix *out)
{
	char address[INET_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	if (slash && (size_t)(slash - text) < sizeof(address)) {
		memcpy(address, text, (size_t)(slash - text));
		address[slash - text] = 0;
		struct ipv4_prefix prefix;
		uint64_t length = 0;
		size_t used = digits(slash + 1, &length);
		if (ipv4(address, &prefix.address) && used > 0 && slash[1 + used] == 0 &&
		    length >= 1 && length <= 32) {
			prefix.length = (uint8_t)length;
			*out = prefix;
			return true;
		}
	}
	return place_expected(place, text,
			      "an IPv4 address with its prefix length such as 10.0.0.1/24");
}

bool value_key(const struct place *place, const char *text, uint8_t out[KEY_BYTES])
{
	uint8_t key[KEY_BYTES];
	size_t length = 0;
	bool good = sodium_base642bin(key, sizeof(key), text, strlen(text), NULL, &length, NULL,
				      sodium_base64_VARIANT_ORIGINAL) == 0 &&
		    length == sizeof(key) && !sodium_is_zero(key, sizeof(key));
	if (good)
		memcpy(out, key, sizeof(key));
	sodium_memzero(key, sizeof(key));
	/* What was found is not shown: it may be most of a secret. */
	return good ||
	       place_wrong(place,
			   "found no such key, expected %d bytes in base64 (supervisor keygen)",
			   KEY_BYTES);
}

bool value_path(const struct place *place, const char *text)
{
	bool good = text[0] == '/';
	for (const char *part = text; good && *part;) {
		const char *end = strchr(part + 1, '/');
		size_t length = end ? (size_t)(end - part - 1) : strlen(part + 1);
		bool dots = (length == 1 && part[1] == '.') ||
			    (length == 2 && part[1] == '.' && part[2] == '.');
		bool only_root = text[1] == 0;
		good = (length > 0 || only_root) && !dots;
		part += 1 + length;
	}
	return good || place_expected(place, text, "an absolute path without //, . and ..");
}

bool value_local_path(const struct place *place, const char *text)
{
	static const char *const below[] = {"/dev/", "/etc/", "/proc/", "/run/",
					    "/sys/", "/tmp/", "/var/"};
	if (!value_path(place, text))
		return false;
	for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
		if (strncmp(text, below[i], strlen(below[i])) == 0)
			return true;
	}
	return place_expected(place, text,
			      "a path below /dev, /etc, /proc, /run, /sys, /tmp or /var");
}

bool value_disk(const struct place *place, const char *text)
{
	if (strncmp(text, "serial:", 7) == 0) {
		size_t length =
			strspn(text + 7,
			       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
		/* 20 bytes: what virtio-blk holds (virtio 1.2, 5.2.6.1 VIRTIO_BLK_ID_BYTES). */
		if (length > 0 && length <= 20 && text[7 + length] == 0)
			return true;
	} else if (strncmp(text, "/dev/", 5) == 0 && !strpbrk(text, " \t\"")) {
		return value_path(place, text);
	}
	return place_expected(place, text, "/dev/PATH or serial:NAME");
}

static size_t least_of(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;
	return least < c ? least : c;
}

#define NEAREST_BYTES 64

/* Levenshtein's distance, by one row. */
static size_t distance(const char *a, const char *b)
{
	size_t row[NEAREST_BYTES + 1], columns = strlen(b);
	for (size_t j = 0; j <= columns; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= columns; j++) {
			size_t above = row[j];
			row[j] = least_of(above + 1, row[j - 1] + 1,
					  diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[columns];
}

const char *nearest(const char *text, const char *(*candidate)(size_t index, const void *context),
		    const void *context)
{
	const char *best = NULL, *name;
	size_t best_distance = 4;
	if (strlen(text) > NEAREST_BYTES)
		return NULL;
	for (size_t i = 0; (name = candidate(i, context)); i++) {
		if (strlen(name) > NEAREST_BYTES)
			continue;
		size_t d = distance(text, name);
		if (d < best_distance && d * 2 < strlen(text)) {
			best = name;
			best_distance = d;
		}
	}
	return best;
}
