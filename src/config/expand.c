#include "src/config/expand.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define VARIABLE_BYTES 96 /* between the braces */

/* A growing text; `failed` once it would be too long or memory was short. */
struct text {
	struct arena *arena;
	char *start;
	size_t used, size, most;
	bool failed;
};

static void text_add(struct text *text, const char *bytes, size_t count)
{
	if (text->failed || count > text->most - text->used) {
		text->failed = true;
		return;
	}
	if (text->used + count + 1 > text->size) {
		size_t size = text->size ? text->size : 64;
		while (size < text->used + count + 1)
			size *= 2;
		char *grown = arena_alloc(text->arena, size);
		if (!grown) {
			text->failed = true;
			return;
		}
		if (text->used > 0)
			memcpy(grown, text->start, text->used);
		text->start = grown;
		text->size = size;
	}
	memcpy(text->start + text->used, bytes, count);
	text->used += count;
	text->start[text->used] = 0;
}

/* What a variable stands for: one value, or a list. */
struct value {
	struct words words;
	bool list;
	char name[VARIABLE_BYTES]; /* of a list */
};

struct expander {
	struct arena *arena; /* all that is made on the way */
	const struct place *place;
	const struct expand_scope *scope;
};

static bool wrong(const struct expander *e, const char *variable, const char *why)
{
	return place_wrong(e->place, "%%{%s}: %s", variable, why);
}

static bool one(const struct expander *e, struct value *value, const char *text)
{
	size_t capacity = 0;
	return words_add(e->arena, &value->words, &capacity,
			 arena_strndup(e->arena, text, strlen(text))) ||
	       place_wrong(e->place, "out of memory");
}

static bool one_address(const struct expander *e, struct value *value,
			const struct ipv4_prefix *address)
{
	char text[INET_ADDRSTRLEN] = "";
	inet_ntop(AF_INET, &address->address, text, sizeof(text));
	return one(e, value, text);
}

static bool of_self(const struct expander *e, const char *name, struct value *value, bool *known)
{
	const struct cluster_node *self = e->scope->self;
	const struct cluster_node *peer = cluster_peer(e->scope->cluster, self);
	*known = true;
	if (strcmp(name, "role") == 0)
		return one(e, value, self->role);
	if (strcmp(name, "address") == 0)
		return one_address(e, value, &self->address);
	if (strcmp(name, "disk") == 0)
		return self->disk ? one(e, value, self->disk)
				  : wrong(e, name, "this node has no disk");
	if (strcmp(name, "cache") == 0)
		return self->cache ? one(e, value, self->cache)
				   : wrong(e, name, "this node has no cache");
	if (strcmp(name, "peer") == 0)
		return peer ? one(e, value, peer->name) : wrong(e, name, "this node has no peer");
	if (strcmp(name, "peer.address") == 0)
		return peer ? one_address(e, value, &peer->address)
			    : wrong(e, name, "this node has no peer");
	*known = false;
	return false;
}

static bool of_share(const struct expander *e, const char *name, struct value *value)
{
	if (!e->scope->instance)
		return wrong(e, name, "expected in a template whose instance is a share");
	const struct cluster_share *share =
		cluster_find_share(e->scope->cluster, e->scope->instance);
	if (!share)
		return place_wrong(e->place, "%%{%s}: found \"%s\", expected the name of a share",
				   name, e->scope->instance);
	return one_address(e, value, &share->address->address);
}

/* Lists over the nodes or service addresses of a role. */
static bool of_role(const struct expander *e, const char *name, const char *role,
		    struct value *value)
{
	const struct cluster *cluster = e->scope->cluster;
	size_t capacity = 0, nodes = 0;
	value->list = true;
	for (size_t i = 0; i < cluster->node_count; i++) {
		const struct cluster_node *node = &cluster->node[i];
		if (strcmp(node->role, role) != 0)
			continue;
		nodes++;
		char text[INET_ADDRSTRLEN] = "";
		inet_ntop(AF_INET, &node->address.address, text, sizeof(text));
		const char *word = *name == 'n' ? node->name : text;
		if (*name != 'l' && !words_add(e->arena, &value->words, &capacity,
					       arena_strndup(e->arena, word, strlen(word))))
			return place_wrong(e->place, "out of memory");
	}
	if (nodes == 0)
		return place_wrong(e->place,
				   "%%{%s}: found role \"%s\", expected the role of a node", name,
				   role);
	for (size_t i = 0; *name == 'l' && i < cluster->address_count; i++) {
		const struct cluster_address *address = &cluster->address[i];
		if (strcmp(address->role, role) != 0)
			continue;
		if (!words_add(e->arena, &value->words, &capacity,
			       arena_strndup(e->arena, address->name, strlen(address->name))))
			return place_wrong(e->place, "out of memory");
	}
	return true;
}

static bool of_cluster(const struct expander *e, const char *name, struct value *value)
{
	const struct cluster *cluster = e->scope->cluster;
	size_t capacity = 0;
	if (strcmp(name, "cluster") == 0)
		return one(e, value, cluster->name);
	if (strcmp(name, "gossip-port") == 0) {
		char port[8];
		snprintf(port, sizeof(port), "%u", cluster->gossip_port);
		return one(e, value, port);
	}
	if (strcmp(name, "share.address") == 0)
		return of_share(e, name, value);
	if (strcmp(name, "default-share") == 0)
		return cluster->share_count > 0 ? one(e, value, cluster->share[0].name)
						: wrong(e, name, "the cluster has no share");
	if (strcmp(name, "shares") == 0) {
		value->list = true;
		for (size_t i = 0; i < cluster->share_count; i++) {
			const char *share = cluster->share[i].name;
			if (!words_add(e->arena, &value->words, &capacity,
				       arena_strndup(e->arena, share, strlen(share))))
				return place_wrong(e->place, "out of memory");
		}
		return true;
	}
	if (strncmp(name, "address.", 8) == 0) {
		const struct cluster_address *address = cluster_find_address(cluster, name + 8);
		return address ? one_address(e, value, &address->address)
			       : wrong(e, name, "no such service address in cluster.conf");
	}
	const char *dot = strchr(name, '.');
	if (strncmp(name, "nodes.", 6) == 0 || strncmp(name, "addresses.", 10) == 0 ||
	    strncmp(name, "leases.", 7) == 0)
		return of_role(e, name, dot + 1, value);
	return wrong(e, name, "no such variable");
}

/* Whether there is a variable of that name at all, so that a missing cluster is not blamed for a
 * typing error. */
static bool exists(const char *name)
{
	static const char *const names[] = {"node",	     "role",	      "address",
					    "disk",	     "cache",	      "peer",
					    "cluster",	     "shares",	      "gossip-port",
					    "default-share", "share.address", "peer.address"};
	static const char *const prefixes[] = {"address.", "nodes.", "addresses.", "leases."};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0 &&
		    name[strlen(prefixes[i])])
			return true;
	}
	return false;
}

static bool join(const struct expander *e, const char *separator, struct value *value)
{
	struct text text = {.arena = e->arena, .most = LINE_BYTES_MAX};
	text_add(&text, "", 0);
	for (size_t i = 0; i < value->words.count; i++) {
		if (i > 0)
			text_add(&text, separator, strlen(separator));
		text_add(&text, value->words.word[i], strlen(value->words.word[i]));
	}
	if (text.failed)
		return place_wrong(e->place, "found a list too long to be joined");
	*value = (struct value){0};
	return one(e, value, text.start);
}

/* `name` as between the braces, perhaps with ":TEXT". */
static bool look_up(const struct expander *e, char *name, struct value *value)
{
	*value = (struct value){0};
	char *separator = strchr(name, ':');
	if (separator)
		*separator++ = 0;
	if (!exists(name))
		return wrong(e, name, "no such variable");

	bool known = false, good = false;
	if (strcmp(name, "node") == 0 && e->scope->node) {
		good = one(e, value, e->scope->node);
		known = true;
	} else if (strcmp(name, "node") == 0) {
		return wrong(e, name, "this node has no name: no node.conf, no --node=NAME");
	} else if (!e->scope->cluster) {
		return wrong(e, name, "needs cluster.conf, and there is none");
	} else if (e->scope->self) {
		good = of_self(e, name, value, &known);
	}
	if (!known)
		good = of_cluster(e, name, value);
	if (!good || !separator)
		return good;
	return value->list ? join(e, separator, value)
			   : wrong(e, name, "found a single value, expected a list before \":\"");
}

/*
 * The variable at text[0] = '%'. *length: bytes it takes. `name` gets what is between the braces,
 * "" for %% and %i, whose value is in *literal.
 */
static bool scan(const struct expander *e, const char *text, size_t size, size_t *length,
		 char name[VARIABLE_BYTES], const char **literal)
{
	*name = 0;
	*length = 2;
	if (size >= 2 && text[1] == '%') {
		*literal = "%";
		return true;
	}
	if (size >= 2 && text[1] == 'i') {
		*literal = e->scope->instance;
		return *literal ||
		       place_wrong(e->place, "%%i: found in a service that has no instance");
	}
	const char *end = size >= 2 && text[1] == '{' ? memchr(text, '}', size) : NULL;
	size_t inner = end ? (size_t)(end - text) - 2 : 0;
	if (!end || inner == 0 || inner >= VARIABLE_BYTES) {
		char found[16];
		snprintf(found, sizeof(found), "%.*s", (int)(size < 12 ? size : 12), text);
		return place_expected(e->place, found, "%%%%, %%i or %%{NAME}");
	}
	memcpy(name, text + 2, inner);
	name[inner] = 0;
	*length = inner + 3;
	return true;
}

/* Finds the list over which text is to be repeated; list->list is false if there is none. Checks
 * all variables. */
static bool find_list(const struct expander *e, const char *text, size_t size, struct value *list)
{
	char name[VARIABLE_BYTES];
	*list = (struct value){0};
	for (size_t at = 0; at < size;) {
		size_t length = 1;
		if (text[at] == '%') {
			const char *literal;
			struct value value = {0};
			if (!scan(e, text + at, size - at, &length, name, &literal))
				return false;
			if (*name && !look_up(e, name, &value))
				return false;
			if (value.list && list->list && strcmp(name, list->name) != 0)
				return place_wrong(
					e->place,
					"found two lists, %%{%s} and %%{%s}, expected one",
					list->name, name);
			if (value.list) {
				*list = value;
				memcpy(list->name, name, sizeof(name));
			}
		}
		at += length;
	}
	return true;
}

/* Text with its variables replaced, `list` by `element`; find_list has seen all of them good. */
static void replace(const struct expander *e, const char *text, size_t size,
		    const struct value *list, const char *element, struct text *out)
{
	char name[VARIABLE_BYTES];
	for (size_t at = 0; at < size && !out->failed;) {
		const char *percent = memchr(text + at, '%', size - at);
		size_t plain = percent ? (size_t)(percent - text) - at : size - at;
		text_add(out, text + at, plain);
		at += plain;
		if (!percent)
			return;

		size_t length = 0;
		const char *literal = "";
		struct value value = {0};
		if (!scan(e, text + at, size - at, &length, name, &literal))
			return;
		if (list->list && strcmp(name, list->name) == 0)
			literal = element;
		else if (*name && look_up(e, name, &value))
			literal = value.words.word[0];
		text_add(out, literal, strlen(literal));
		at += length;
	}
}

/* Adds text, expanded, to `out`: once, or once per element of its list. */
static bool expand_into(const struct expander *e, const char *text, size_t size, struct text *out)
{
	struct value list;
	if (!find_list(e, text, size, &list))
		return false;
	size_t count = list.list ? list.words.count : 1;
	for (size_t i = 0; i < count; i++)
		replace(e, text, size, &list, list.list ? list.words.word[i] : "", out);
	return true;
}

static bool expand_word(const struct expander *e, struct arena *arena, const char *word,
			struct words *out, size_t *capacity)
{
	struct value list;
	size_t size = strlen(word);
	if (!find_list(e, word, size, &list))
		return false;

	size_t count = list.list ? list.words.count : 1;
	for (size_t i = 0; i < count; i++) {
		struct text text = {.arena = e->arena, .most = LINE_BYTES_MAX};
		text_add(&text, "", 0);
		replace(e, word, size, &list, list.list ? list.words.word[i] : "", &text);
		if (text.failed)
			return place_wrong(e->place, "found a word that grows beyond %u bytes",
					   LINE_BYTES_MAX);
		if (out->count == LINE_WORDS_MAX)
			return place_wrong(e->place, "found more than %u words, expected fewer",
					   LINE_WORDS_MAX);
		if (!words_add(arena, out, capacity, arena_strndup(arena, text.start, text.used)))
			return place_wrong(e->place, "out of memory");
	}
	return true;
}

bool expand_words(struct arena *arena, struct arena *scratch, const struct place *place,
		  const struct expand_scope *scope, const struct words *in, struct words *out)
{
	const struct expander e = {scratch, place, scope};
	size_t capacity = 0;
	*out = (struct words){0};
	for (size_t i = 0; i < in->count; i++) {
		if (!expand_word(&e, arena, in->word[i], out, &capacity))
			return false;
	}
	return true;
}

const char *expand_one(struct arena *arena, struct arena *scratch, const struct place *place,
		       const struct expand_scope *scope, const char *text)
{
	const struct expander e = {scratch, place, scope};
	struct value list;
	size_t size = strlen(text);
	if (!find_list(&e, text, size, &list))
		return NULL;
	if (list.list) {
		place_wrong(place, "found a list, expected a single value or %%{LIST:TEXT}");
		return NULL;
	}
	struct text out = {.arena = scratch, .most = LINE_BYTES_MAX};
	text_add(&out, "", 0);
	replace(&e, text, size, &list, "", &out);
	if (out.failed) {
		place_wrong(place, "found a text that grows beyond %u bytes", LINE_BYTES_MAX);
		return NULL;
	}
	const char *copy = arena_strndup(arena, out.start, out.used);
	if (!copy)
		place_wrong(place, "out of memory");
	return copy;
}

const char *expand_template(struct arena *arena, struct arena *scratch,
			    struct config_report *report, const char *file,
			    const struct expand_scope *scope, const char *text, size_t size,
			    size_t *out_bytes)
{
	struct text out = {.arena = scratch, .most = TEMPLATE_BYTES_MAX};
	struct place place = {report, file, 0, "template"};
	const struct expander e = {scratch, &place, scope};
	bool good = true;
	size_t offset;

	if (size > FILE_BYTES_MAX) {
		config_report_add(report, file, 0, "found %zu bytes, expected at most %u", size,
				  FILE_BYTES_MAX);
		return NULL;
	}
	text_add(&out, "", 0);
	for (size_t at = 0; at < size && !out.failed;) {
		const char *line = text + at;
		const char *newline = memchr(line, '\n', size - at);
		size_t length = newline ? (size_t)(newline - line) + 1 : size - at;
		at += length;
		place.line++;
		if (!text_clean(line, length, &offset))
			good = place_wrong(&place, "found a byte that is no text (UTF-8 without "
						   "control characters)");
		else if (!expand_into(&e, line, length, &out))
			good = false;
	}
	if (out.failed)
		good = place_wrong(&place, "grows beyond %u bytes", TEMPLATE_BYTES_MAX);
	if (!good)
		return NULL;
	*out_bytes = out.used;
	const char *copy = arena_strndup(arena, out.start, out.used);
	if (!copy)
		place_wrong(&place, "out of memory");
	return copy;
}
