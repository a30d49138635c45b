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

/* "key:VALUE" into `value`; a value that does not fit or is not a plain word counts as unknown. */
static bool take(struct token token, const char *key, char value[DRBD_WORD_BYTES])
{
	const size_t prefix = strlen(key);

	if (token.length <= prefix || memcmp(token.text, key, prefix) != 0 ||
	    token.text[prefix] != ':')
		return false;
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
	return true;
}

static void take_suspended(struct drbd_state *state, struct token token)
{
	char value[DRBD_WORD_BYTES];
	if (take(token, "suspended", value))
		state->suspended = strcmp(value, "no") != 0;
}

bool drbd_state_line(struct drbd_state *state, const char *line, size_t length)
{
	const char *at = line, *end = line + length;
	struct token action = next_token(&at, end);
	struct token object = next_token(&at, end);
	const bool gone = token_is(action, "destroy");

	if (!gone && !token_is(action, "exists") && !token_is(action, "create") &&
	    !token_is(action, "change"))
		return token_is(action, "call") || token_is(action, "response");
	if (token_is(object, "-")) {
		state->complete = true;
		return true;
	}
	if (token_is(object, "resource")) {
		state->exists = !gone;
		for (struct token t = next_token(&at, end); t.length > 0;
		     t = next_token(&at, end)) {
			take(t, "role", state->role);
			take_suspended(state, t);
		}
	} else if (token_is(object, "connection")) {
		if (gone)
			state->connection[0] = '\0';
		for (struct token t = next_token(&at, end); t.length > 0;
		     t = next_token(&at, end)) {
			take(t, "connection", state->connection);
			take(t, "role", state->peer_role);
		}
	} else if (token_is(object, "device")) {
		if (gone)
			state->disk[0] = '\0';
		for (struct token t = next_token(&at, end); t.length > 0; t = next_token(&at, end))
			take(t, "disk", state->disk);
	} else if (token_is(object, "peer-device")) {
		if (gone)
			state->replication[0] = state->peer_disk[0] = '\0';
		for (struct token t = next_token(&at, end); t.length > 0;
		     t = next_token(&at, end)) {
			take(t, "replication", state->replication);
			take(t, "peer-disk", state->peer_disk);
		}
	} else {
		return false;
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
