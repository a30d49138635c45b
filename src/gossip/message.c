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

/* K=V words with single blanks between: printable ASCII; unused bytes are 0. */
static bool tags_valid(const char tags[GOSSIP_TAGS_MAX], uint8_t bytes)
{
	if (bytes > GOSSIP_TAGS_MAX)
		return false;
	for (size_t i = 0; i < bytes; i++)
		if (tags[i] < ' ' || tags[i] > '~')
			return false;
	return all_zero((const uint8_t *)tags + bytes, GOSSIP_TAGS_MAX - (size_t)bytes);
}

static bool self_valid(const struct gossip_self *self)
{
	return self->node_count >= 1 && self->node_count <= GOSSIP_NODES_MAX &&
	       self->index < self->node_count && all_zero(self->reserved, sizeof(self->reserved)) &&
	       self->boot_id != 0 && name_valid(self->cluster) &&
	       !all_zero(self->secret_key, sizeof(self->secret_key)) &&
	       tags_valid(self->tags, self->tags_bytes);
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

static bool member_valid(const struct gossip_member *member, bool known)
{
	bool here = member->state == GOSSIP_ALIVE || member->state == GOSSIP_SUSPECT;
	bool counted =
		member->change != GOSSIP_CHANGE_NUMBERS && member->change != GOSSIP_CHANGE_CONFLICT;
	if (known && (member->change != 0 || member->conflict != 0 || member->boot_id == 0 ||
		      member->state == GOSSIP_UNKNOWN))
		return false;
	return member->index < GOSSIP_NODES_MAX && member->state <= GOSSIP_LEFT_STATE &&
	       member->ready <= here && member->change <= GOSSIP_CHANGE_CONFLICT &&
	       member->conflict <= GOSSIP_CONFLICT_ELSEWHERE &&
	       (member->elsewhere != 0) == (member->conflict == GOSSIP_CONFLICT_ELSEWHERE) &&
	       (member->sequence != 0) == counted && member->services_ready <= member->services &&
	       member->services_failed <= member->services &&
	       all_zero(member->reserved, sizeof(member->reserved)) &&
	       tags_valid(member->tags, member->tags_bytes);
}

static bool peer_valid(const struct gossip_peer *peer)
{
	return peer->index < GOSSIP_NODES_MAX && peer->session <= 1 &&
	       peer->loss_permille <= 1000 && peer->reserved == 0;
}

static bool progress_valid(const struct gossip_progress *progress)
{
	return progress->locked <= 1 && progress->realtime <= 1 &&
	       all_zero(progress->reserved, sizeof(progress->reserved)) && progress->health <= 8;
}

/* Which way a type travels, how much of the message it uses, and whether that is in range. */
static bool content_valid(const struct gossip_message *message, enum gossip_direction *travels,
			  size_t *used)
{
	*travels = message->type >= GOSSIP_MEMBER ? GOSSIP_FROM_PROCESS : GOSSIP_TO_PROCESS;
	*used = 0;
	switch (message->type) {
	case GOSSIP_SELF:
		*used = sizeof(message->self);
		return self_valid(&message->self);
	case GOSSIP_NODE:
		*used = sizeof(message->node);
		return node_valid(&message->node);
	case GOSSIP_READY:
		*used = sizeof(message->ready);
		return ready_valid(&message->ready);
	case GOSSIP_LEAVE:
	case GOSSIP_PING:
	case GOSSIP_LEFT:
		return true;
	case GOSSIP_QUERY:
		*used = sizeof(message->query);
		return message->query.serial != 0;
	case GOSSIP_KNOWN:
	case GOSSIP_MEMBER:
		*used = sizeof(message->member);
		return member_valid(&message->member, message->type == GOSSIP_KNOWN);
	case GOSSIP_PEER:
		*used = sizeof(message->peer);
		return peer_valid(&message->peer);
	case GOSSIP_PROGRESS:
		*used = sizeof(message->progress);
		return progress_valid(&message->progress);
	default:
		return false;
	}
}

bool gossip_message_valid(const void *data, size_t bytes, enum gossip_direction direction)
{
	struct gossip_message message;
	enum gossip_direction travels;
	size_t used;
	if (bytes != sizeof(message))
		return false;
	memcpy(&message, data, sizeof(message));
	return message.magic == GOSSIP_MESSAGE_MAGIC &&
	       all_zero(message.reserved, sizeof(message.reserved)) &&
	       content_valid(&message, &travels, &used) && travels == direction &&
	       all_zero(message.bytes + used, sizeof(message.bytes) - used);
}

const char *gossip_state_name(unsigned state)
{
	static const char *const names[] = {"unknown", "alive", "suspect", "dead", "left"};
	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

const char *gossip_change_name(unsigned change)
{
	static const char *const names[] = {"changed", "joined", "alive",   "suspect",
					    "dead",    "left",	 "updated", "conflict"};
	return change < sizeof(names) / sizeof(names[0]) ? names[change] : "changed";
}

const char *gossip_conflict_name(unsigned conflict)
{
	static const char *const names[] = {"", "twins", "clones", "elsewhere"};
	return conflict < sizeof(names) / sizeof(names[0]) ? names[conflict] : "";
}

const char *gossip_drop_name(unsigned reason)
{
	static const char *const names[GOSSIP_DROP_REASONS] = {
		"short", "magic",   "source", "flood",	  "replay", "boot",
		"seal",	 "content", "send",   "conflict", "kernel"};
	return reason < GOSSIP_DROP_REASONS ? names[reason] : "";
}
