/*
 * The agent's frames. Pure.
 */
#include <string.h>

#include "services/agent/agent.h"

static int possible(const uint8_t *bytes, size_t count, struct agent_header *header)
{
	size_t magic = count < 4 ? count : 4;
	if (memcmp(bytes, AGENT_MAGIC, magic) != 0)
		return -1;
	if (count < AGENT_HEADER)
		return 0;
	memcpy(header->session, bytes + 4, sizeof header->session);
	header->type = bytes[12];
	header->length = (uint32_t)bytes[16] << 24 | (uint32_t)bytes[17] << 16 |
			 (uint32_t)bytes[18] << 8 | bytes[19];
	if (header->type < AGENT_RUN || header->type > AGENT_SIGNAL || bytes[13] || bytes[14] ||
	    bytes[15] || header->length > AGENT_REQUEST_MAX)
		return -1;
	return 1;
}

int agent_find_header(const uint8_t *bytes, size_t count, size_t *skip, struct agent_header *header)
{
	for (*skip = 0; *skip < count; ++*skip) {
		int found = possible(bytes + *skip, count - *skip, header);
		if (found >= 0)
			return found;
	}
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
