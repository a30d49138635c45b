/* The channel's validator: any bytes, both directions; what it lets pass must be safe to use as the
 * receivers do. */
#include <stdlib.h>
#include <string.h>

#include "src/gossip/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gossip_message message;
	bool to = gossip_message_valid(data, size, GOSSIP_TO_PROCESS);
	bool from = gossip_message_valid(data, size, GOSSIP_FROM_PROCESS);
	if (to && from)
		abort();
	if (!to && !from)
		return 0;
	memcpy(&message, data, sizeof(message));
	if (message.type == GOSSIP_SELF &&
	    (strlen(message.self.cluster) == 0 || message.self.index >= GOSSIP_NODES_MAX))
		abort();
	if (message.type == GOSSIP_NODE &&
	    (strlen(message.node.name) == 0 || strlen(message.node.role) >= GOSSIP_NAME_BYTES ||
	     message.node.index >= GOSSIP_NODES_MAX))
		abort();
	if (message.type == GOSSIP_MEMBER && gossip_state_name(message.member.state)[0] == '\0')
		abort();
	return 0;
}
