#include "src/base/fastcgi.h"

#include <string.h>

void fastcgi_put_header(uint8_t header[FCGI_HEADER_BYTES], const struct fastcgi_record *record)
{
	header[0] = FCGI_VERSION;
	header[1] = record->type;
	header[2] = (uint8_t)(record->request >> 8);
	header[3] = (uint8_t)record->request;
	header[4] = (uint8_t)(record->content_bytes >> 8);
	header[5] = (uint8_t)record->content_bytes;
	header[6] = record->padding_bytes;
	header[7] = 0;
}

bool fastcgi_get_header(const uint8_t header[FCGI_HEADER_BYTES], struct fastcgi_record *record)
{
	*record = (struct fastcgi_record){
		.type = header[1],
		.request = (uint16_t)(header[2] << 8 | header[3]),
		.content_bytes = (uint16_t)(header[4] << 8 | header[5]),
		.padding_bytes = header[6],
	};
	return header[0] == FCGI_VERSION;
}

/* One byte below 128, else four with the highest bit set. */
static size_t length_bytes(size_t length)
{
	return length < 128 ? 1 : 4;
}

static size_t put_length(uint8_t *to, size_t length)
{
	if (length < 128) {
		to[0] = (uint8_t)length;
		return 1;
	}
	to[0] = (uint8_t)(length >> 24 | 0x80);
	to[1] = (uint8_t)(length >> 16);
	to[2] = (uint8_t)(length >> 8);
	to[3] = (uint8_t)length;
	return 4;
}

bool fastcgi_put_pair(uint8_t *to, size_t max, size_t *used, const char *name, const char *value)
{
	size_t name_bytes = strlen(name), value_bytes = strlen(value);
	size_t lengths = length_bytes(name_bytes) + length_bytes(value_bytes);
	size_t room = max - *used;

	if (name_bytes > room || value_bytes > room || lengths + name_bytes + value_bytes > room)
		return false;
	uint8_t *at = to + *used;
	at += put_length(at, name_bytes);
	at += put_length(at, value_bytes);
	memcpy(at, name, name_bytes);
	memcpy(at + name_bytes, value, value_bytes);
	*used += lengths + name_bytes + value_bytes;
	return true;
}

static bool get_length(const uint8_t *content, size_t bytes, size_t *at, size_t *length)
{
	if (*at >= bytes)
		return false;
	const uint8_t *from = content + *at;
	if (from[0] < 128) {
		*length = from[0];
		*at += 1;
		return true;
	}
	if (bytes - *at < 4)
		return false;
	*length = (size_t)(from[0] & 0x7f) << 24 | (size_t)from[1] << 16 | (size_t)from[2] << 8 |
		  from[3];
	*at += 4;
	return true;
}

bool fastcgi_get_pair(const uint8_t *content, size_t bytes, size_t *at, struct fastcgi_pair *pair)
{
	struct fastcgi_pair found;
	size_t next = *at;

	if (!get_length(content, bytes, &next, &found.name_bytes) ||
	    !get_length(content, bytes, &next, &found.value_bytes) ||
	    found.name_bytes > bytes - next || found.value_bytes > bytes - next - found.name_bytes)
		return false;
	found.name = content + next;
	found.value = found.name + found.name_bytes;
	*at = next + found.name_bytes + found.value_bytes;
	*pair = found;
	return true;
}
