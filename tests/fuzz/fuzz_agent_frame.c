/* The bytes of the host's port: a found request is one, whole and short enough, and looking again
 * finds the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/agent/agent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct agent_header header, again;
	size_t skip, none;

	while (agent_find_request(data, size, &skip, &header)) {
		data += skip;
		size -= skip;
		if (header.length > AGENT_REQUEST_MAX || size < AGENT_HEADER + header.length)
			abort();
		if (!agent_find_request(data, AGENT_HEADER + header.length, &none, &again) ||
		    none != 0)
			abort();
		data += AGENT_HEADER + header.length;
		size -= AGENT_HEADER + header.length;
	}
	if (skip > size || size - skip >= AGENT_HEADER + AGENT_REQUEST_MAX)
		abort();
	return 0;
}
