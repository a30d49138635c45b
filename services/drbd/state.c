#include "services/drbd/state.h"

#include <string.h>

struct token {
	const char *text;
	size_t length;
};

static struct token next_token(const char **at, const char *end)
{
	while (*at < end && **at == ' ')
		(*at)++;
	struct token token = {*at, 0};
	while (*at < end && **at != ' ')
		(*at)++;
	token.length = (size_t)(*at - token.text);
	return token;
}

static bool token_is(struct token token, const char *word)
{
	return token.length == strlen(word) && memcmp(token.text, word, token.length) == 0;
}

/* One line: which state it tells of, whether of the first picture, and the token just read. */
struct reader {
	struct drbd_state *state;
	bool first_picture;
	struct token token;
};

enum word { ROLE, SUSPENDED, CONNECTION, PEER_ROLE, DISK, REPLICATION, PEER_DISK };

/* "key:VALUE" into `value`; a value that does not fit or is not a plain word counts as unknown. */
static void take(const struct reader *reader, const char *key, enum word word,
		 char value[DRBD_WORD_BYTES])
{
	const struct token token = reader->token;
	const size_t prefix = strlen(key);

	if (token.length <= prefix || memcmp(token.text, key, prefix) != 0 ||
	    token.text[prefix] != ':')
		return;
	if (reader->first_picture && reader->state->changed & 1u << word)
		return;
	if (!reader->first_picture)
		reader->state->changed |= 1u << word;
	const char *text = token.text + prefix + 1;
	size_t length = token.length - prefix - 1;
	for (size_t i = 0; i < length; i++) {
		const char c = text[i];
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == ','))
			length = 0;
	}
	if (length >= DRBD_WORD_BYTES)
		length = 0;
	memcpy(value, text, length);
	value[length] = '\0';
}

static void take_suspended(const struct reader *reader)
{
	char value[DRBD_WORD_BYTES];
	strcpy(value, reader->state->suspended ? "yes" : "no");
	take(reader, "suspended", SUSPENDED, value);
	reader->state->suspended = strcmp(value, "no") != 0;
}

bool drbd_state_line(struct drbd_state *state, const char *line, size_t length)
{
	const char *at = line, *end = line + length;
	struct token action = next_token(&at, end);
	struct token object = next_token(&at, end);
	const bool gone = token_is(action, "destroy");
	struct reader reader = {.state = state, .first_picture = token_is(action, "exists")};

	if (!gone && !reader.first_picture && !token_is(action, "create") &&
	    !token_is(action, "change"))
		return token_is(action, "call") || token_is(action, "response");
	if (token_is(object, "-")) {
		state->complete = true;
		return true;
	}
	const bool resource = token_is(object, "resource"), device = token_is(object, "device");
	const bool connection = token_is(object, "connection");
	if (!resource && !device && !connection && !token_is(object, "peer-device"))
		return false;
	if (resource)
		state->exists = !gone;
	else if (gone && connection)
		state->connection[0] = '\0';
	else if (gone && device)
		state->disk[0] = '\0';
	else if (gone)
		state->replication[0] = state->peer_disk[0] = '\0';
	while ((reader.token = next_token(&at, end)).length > 0) {
		if (resource) {
			take(&reader, "role", ROLE, state->role);
			take_suspended(&reader);
		} else if (connection) {
			take(&reader, "connection", CONNECTION, state->connection);
			take(&reader, "role", PEER_ROLE, state->peer_role);
		} else if (device) {
			take(&reader, "disk", DISK, state->disk);
		} else {
			take(&reader, "replication", REPLICATION, state->replication);
			take(&reader, "peer-disk", PEER_DISK, state->peer_disk);
		}
	}
	return true;
}

bool drbd_is_connected(const struct drbd_state *state)
{
	return state->complete && strcmp(state->connection, "Connected") == 0;
}

bool drbd_is_primary(const struct drbd_state *state)
{
	return strcmp(state->role, "Primary") == 0;
}

bool drbd_both_new(const struct drbd_state *state)
{
	return drbd_is_connected(state) && strcmp(state->replication, "Established") == 0 &&
	       strcmp(state->disk, "Inconsistent") == 0 &&
	       strcmp(state->peer_disk, "Inconsistent") == 0;
}

bool drbd_may_promote(const struct drbd_state *state)
{
	if (!drbd_is_connected(state))
		return false;
	if (strcmp(state->disk, "UpToDate") == 0)
		return true;
	/* A target of a running sync reads what it has not yet from its peer. */
	return strcmp(state->disk, "Inconsistent") == 0 &&
	       strcmp(state->peer_disk, "UpToDate") == 0 &&
	       strcmp(state->replication, "SyncTarget") == 0;
}

bool drbd_gi_is_new(const char *text, size_t length)
{
	static const char just_created[] = "0000000000000004:";
	return length >= sizeof(just_created) - 1 &&
	       memcmp(text, just_created, sizeof(just_created) - 1) == 0;
}
