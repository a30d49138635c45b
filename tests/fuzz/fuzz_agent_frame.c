/* The bytes of the host's port: a found header is one, and nothing that could begin one is skipped.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/agent/agent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct agent_header header;
	uint8_t again[AGENT_HEADER];
	size_t skip;

	while (agent_find_header(data, size, &skip, &header)) {
		data += skip;
		size -= skip;
		agent_put_header(again, &header);
		if (size < AGENT_HEADER || memcmp(again, data, AGENT_HEADER) != 0 ||
		    header.length > AGENT_REQUEST_MAX)
			abort();
		data++;
		size--;
	}
	if (skip > size)
		abort();
	return 0;
}
