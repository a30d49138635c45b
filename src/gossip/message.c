#include "src/gossip/message.h"

#include <string.h>

void gossip_message_init(struct gossip_message *message, enum gossip_message_type type)
{
	memset(message, 0, sizeof(*message));
	message->magic = GOSSIP_MESSAGE_MAGIC;
	message->type = (uint16_t)type;
}

static bool all_zero(const uint8_t *byte, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (byte[i] != 0)
			return false;
	}
	return true;
}

/* [a-z0-9][a-z0-9.-]*, at least one character, at least one NUL, nothing but NULs after it. */
static bool name_valid(const char name[GOSSIP_NAME_BYTES])
{
	size_t length = 0;
	while (length < GOSSIP_NAME_BYTES && name[length] != '\0') {
		char c = name[length];
		bool inner = c == '-' || c == '.';
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !(inner && length > 0))
			return false;
		length++;
	}
	if (length == 0 || length == GOSSIP_NAME_BYTES)
		return false;
	return all_zero((const uint8_t *)name + length, GOSSIP_NAME_BYTES - length);
}

static bool self_valid(const struct gossip_self *self)
{
	return self->node_count >= 1 && self->node_count <= GOSSIP_NODES_MAX &&
	       self->index < self->node_count && all_zero(self->reserved, sizeof(self->reserved)) &&
	       self->boot_id != 0 && name_valid(self->cluster) &&
	       !all_zero(self->secret_key, sizeof(self->secret_key));
}

static bool node_valid(const struct gossip_node *node)
{
	if (node->key_count > GOSSIP_KEYS_MAX)
		return false;
	for (size_t i = 0; i < GOSSIP_KEYS_MAX; i++)
		if (all_zero(node->key[i], sizeof(node->key[i])) != (i >= node->key_count))
			return false;
	return node->index < GOSSIP_NODES_MAX && node->port != 0 && node->address != 0 &&
	       name_valid(node->name) && name_valid(node->role) &&
	       all_zero(node->reserved, sizeof(node->reserved));
}

static bool ready_valid(const struct gossip_ready *ready)
{
	return ready->ready <= 1 && all_zero(ready->reserved, sizeof(ready->reserved)) &&
	       ready->services_ready <= ready->services &&
	       ready->services_failed <= ready->services;
}

static bool member_valid(const struct gossip_member *member)
{
	return member->index < GOSSIP_NODES_MAX && member->state <= GOSSIP_LEFT_STATE &&
	       member->ready <= 1 && all_zero(member->reserved, sizeof(member->reserved));
}

bool gossip_message_valid(const void *data, size_t bytes, enum gossip_direction direction)
{
	struct gossip_message message;
	if (bytes != sizeof(message))
		return false;
	memcpy(&message, data, sizeof(message));
	if (message.magic != GOSSIP_MESSAGE_MAGIC ||
	    !all_zero(message.reserved, sizeof(message.reserved)))
		return false;

	enum gossip_direction travels = GOSSIP_TO_PROCESS;
	size_t used = 0;
	bool valid = true;
	switch (message.type) {
	case GOSSIP_SELF:
		used = sizeof(message.self);
		valid = self_valid(&message.self);
		break;
	case GOSSIP_NODE:
		used = sizeof(message.node);
		valid = node_valid(&message.node);
		break;
	case GOSSIP_READY:
		used = sizeof(message.ready);
		valid = ready_valid(&message.ready);
		break;
	case GOSSIP_LEAVE:
		break;
	case GOSSIP_MEMBER:
		travels = GOSSIP_FROM_PROCESS;
		used = sizeof(message.member);
		valid = member_valid(&message.member);
		break;
	case GOSSIP_PROGRESS:
		travels = GOSSIP_FROM_PROCESS;
		used = sizeof(message.progress);
		break;
	case GOSSIP_LEFT:
		travels = GOSSIP_FROM_PROCESS;
		break;
	default:
		return false;
	}
	return valid && travels == direction &&
	       all_zero(message.bytes + used, sizeof(message.bytes) - used);
}

const char *gossip_state_name(unsigned state)
{
	static const char *const names[] = {"unknown", "alive", "suspect", "dead", "left"};
	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}
