/*
 * The agent's frames. Pure.
 */
#include <stdbool.h>
#include <string.h>

#include "services/agent/agent.h"

enum { CHECK = AGENT_HEADER - 4 };

static uint32_t number(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

/* CRC-32 of IEEE 802.3, reflected, bit by bit: requests are short. */
static uint32_t crc32(uint32_t crc, const uint8_t *bytes, size_t count)
{
	crc = ~crc;
	for (size_t i = 0; i < count; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
	}
	return ~crc;
}

/* Whether a request may begin here, as far as the bytes tell. */
static bool possible(const uint8_t *bytes, size_t count)
{
	if (memcmp(bytes, AGENT_MAGIC, count < 4 ? count : 4) != 0)
		return false;
	if (count < AGENT_HEADER)
		return true;
	return bytes[12] >= AGENT_RUN && bytes[12] <= AGENT_SIGNAL && !bytes[13] && !bytes[14] &&
	       !bytes[15] && number(bytes + 16) <= AGENT_REQUEST_MAX;
}

static bool whole(const uint8_t *bytes, size_t count)
{
	if (count < AGENT_HEADER || count - AGENT_HEADER < number(bytes + 16))
		return false;
	uint32_t crc = crc32(0, bytes, CHECK);
	return crc32(crc, bytes + AGENT_HEADER, number(bytes + 16)) == number(bytes + CHECK);
}

/* All of it is here, and it is wrong. */
static bool spoilt(const uint8_t *bytes, size_t count)
{
	return count >= AGENT_HEADER && count - AGENT_HEADER >= number(bytes + 16) &&
	       !whole(bytes, count);
}

int agent_find_request(const uint8_t *bytes, size_t count, size_t *skip,
		       struct agent_header *header)
{
	size_t first = count;
	for (size_t at = 0; at < count; at++) {
		if (!possible(bytes + at, count - at) || spoilt(bytes + at, count - at))
			continue;
		if (whole(bytes + at, count - at)) {
			*skip = at;
			memcpy(header->session, bytes + at + 4, sizeof header->session);
			header->type = bytes[at + 12];
			header->length = number(bytes + at + 16);
			return 1;
		}
		if (first == count)
			first = at;
	}
	*skip = first;
	return 0;
}

void agent_put_header(uint8_t bytes[AGENT_HEADER], const struct agent_header *header)
{
	memset(bytes, 0, AGENT_HEADER);
	memcpy(bytes, AGENT_MAGIC, 4);
	memcpy(bytes + 4, header->session, sizeof header->session);
	bytes[12] = header->type;
	for (int i = 0; i < 4; i++)
		bytes[16 + i] = (uint8_t)(header->length >> (24 - 8 * i));
}
