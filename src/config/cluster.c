#include "src/config/cluster.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "src/config/lines.h"
#include "src/config/values.h"

#define SECTIONS_MAX (CLUSTER_NODES_MAX + CLUSTER_ADDRESSES_MAX + CLUSTER_SHARES_MAX)

enum section_kind { SECTION_TOP, SECTION_NODE, SECTION_ADDRESS, SECTION_SHARE };

/* A value that names something which may come later in the file: looked up at its end. */
struct reference {
	int line; /* 0: not given */
	const char *text;
};

struct parser {
	struct arena *arena;
	struct config_report *report;
	const char *file;
	struct cluster *cluster;

	enum section_kind section;
	int section_line; /* 0: in no section, or in one that was refused */
	uint32_t seen;	  /* keys of the present section, bit N = row N of its table */
	struct words voters;
	int voters_line, gateway_line;
	int node_line[CLUSTER_NODES_MAX], address_line[CLUSTER_ADDRESSES_MAX];
	struct reference prefer[CLUSTER_ADDRESSES_MAX], share_address[CLUSTER_SHARES_MAX];
};

struct key {
	const char *name;
	bool (*set)(struct parser *parser, const struct place *place, const char *value);
	bool required;
};

/* The entry that the present section describes. */
static struct cluster_node *node(struct parser *parser)
{
	return &parser->cluster->node[parser->cluster->node_count - 1];
}

static struct cluster_address *address(struct parser *parser)
{
	return &parser->cluster->address[parser->cluster->address_count - 1];
}

static bool set_cluster(struct parser *parser, const struct place *place, const char *value)
{
	return value_name(place, value, parser->cluster->name);
}

static bool set_voters(struct parser *parser, const struct place *place, const char *value)
{
	parser->voters_line = place->line;
	return words_split(parser->arena, place, value, &parser->voters);
}

static bool set_gossip_port(struct parser *parser, const struct place *place, const char *value)
{
	int64_t port;
	if (!value_number(place, value, 1, 65535, &port))
		return false;
	parser->cluster->gossip_port = (uint16_t)port;
	return true;
}

static bool set_gateway(struct parser *parser, const struct place *place, const char *value)
{
	parser->gateway_line = place->line;
	return value_ipv4(place, value, &parser->cluster->gateway);
}

static bool set_timer(const struct place *place, const char *value, uint32_t least_ms,
		      uint32_t most_ms, uint32_t step_ms, uint32_t *out)
{
	uint32_t ms;

	if (!value_duration(place, value, &ms))
		return false;
	if (ms < least_ms || ms > most_ms || ms % step_ms != 0)
		return place_expected(place, value, "%ums to %us in steps of %ums", least_ms,
				      most_ms / 1000, step_ms);
	*out = ms;
	return true;
}

/* In tenths of a second, as drbdsetup(8) takes it. */
static bool set_drbd_timeout(struct parser *parser, const struct place *place, const char *value)
{
	return set_timer(place, value, 500, 60000, 100, &parser->cluster->timers.drbd_timeout);
}

/* The kernel's own limits: fs/nfsd/nfsctl.c, 10 s to an hour. */
static bool set_nfs_lease(struct parser *parser, const struct place *place, const char *value)
{
	return set_timer(place, value, 10000, 3600000, 1000, &parser->cluster->timers.nfs_lease);
}

static bool set_nfs_grace(struct parser *parser, const struct place *place, const char *value)
{
	return set_timer(place, value, 10000, 3600000, 1000, &parser->cluster->timers.nfs_grace);
}

static bool set_node_role(struct parser *parser, const struct place *place, const char *value)
{
	return value_name(place, value, node(parser)->role);
}

static bool set_node_address(struct parser *parser, const struct place *place, const char *value)
{
	return value_prefix(place, value, &node(parser)->address);
}

static bool set_node_key(struct parser *parser, const struct place *place, const char *value)
{
	struct cluster_node *entry = node(parser);
	struct words words;

	if (strcmp(value, "none") == 0)
		return true;
	if (!words_split(parser->arena, place, value, &words))
		return false;
	if (words.count > KEYS_MAX)
		return place_wrong(place, "found %zu keys, expected one, or an old and a new one",
				   words.count);
	for (size_t i = 0; i < words.count; i++) {
		if (!value_key(place, words.word[i], entry->key[entry->key_count]))
			return false;
		if (entry->key_count > 0 &&
		    memcmp(entry->key[0], entry->key[entry->key_count], KEY_BYTES) == 0)
			return place_wrong(place, "found the same key twice");
		entry->key_count++;
	}
	return true;
}

/* Words KEY=VALUE for the siblings to read. */
static bool set_node_tags(struct parser *parser, const struct place *place, const char *value)
{
	char *tags = node(parser)->tags, name[NAME_BYTES], checked[NAME_BYTES];
	struct words words;
	size_t used = 0;

	if (!words_split(parser->arena, place, value, &words))
		return false;
	for (size_t i = 0; i < words.count; i++) {
		const char *word = words.word[i];
		size_t length = strlen(word), name_length = strcspn(word, "=");
		if (name_length == length || name_length >= sizeof(name))
			return place_expected(place, word, "KEY=VALUE");
		snprintf(name, sizeof(name), "%.*s", (int)name_length, word);
		if (!value_name(place, name, checked))
			return false;
		for (size_t at = 0; at < length; at++)
			if (word[at] <= ' ' || word[at] > '~')
				return place_expected(place, word, "printable ASCII, no blanks");
		if (used + (used > 0) + length >= TAGS_BYTES)
			return place_wrong(place, "found more than %d bytes", TAGS_BYTES - 1);
		used += (size_t)snprintf(tags + used, TAGS_BYTES - used, "%s%s", used ? " " : "",
					 word);
	}
	return true;
}

static bool set_text(struct parser *parser, const struct place *place, const char *value,
		     const char **out)
{
	*out = arena_strndup(parser->arena, value, strlen(value));
	return *out || place_wrong(place, "out of memory");
}

static bool set_node_disk(struct parser *parser, const struct place *place, const char *value)
{
	return value_disk(place, value) && set_text(parser, place, value, &node(parser)->disk);
}

static bool set_node_cache(struct parser *parser, const struct place *place, const char *value)
{
	return value_disk(place, value) && set_text(parser, place, value, &node(parser)->cache);
}

static bool set_address_role(struct parser *parser, const struct place *place, const char *value)
{
	return value_name(place, value, address(parser)->role);
}

static bool set_address_address(struct parser *parser, const struct place *place, const char *value)
{
	return value_prefix(place, value, &address(parser)->address);
}

static bool set_address_prefer(struct parser *parser, const struct place *place, const char *value)
{
	parser->prefer[parser->cluster->address_count - 1] = (struct reference){place->line, value};
	return true;
}

static bool set_share_address(struct parser *parser, const struct place *place, const char *value)
{
	parser->share_address[parser->cluster->share_count - 1] =
		(struct reference){place->line, value};
	return true;
}

static bool set_share_seed(struct parser *parser, const struct place *place, const char *value)
{
	struct cluster_share *share = &parser->cluster->share[parser->cluster->share_count - 1];
	return value_path(place, value) && set_text(parser, place, value, &share->seed);
}

static const struct key top_keys[] = {
	{"cluster", set_cluster, true},
	{"voters", set_voters, true},
	{"gossip-port", set_gossip_port, false},
	{"gateway", set_gateway, false},
	{"drbd-timeout", set_drbd_timeout, false},
	{"nfs-lease", set_nfs_lease, false},
	{"nfs-grace", set_nfs_grace, false},
	{0},
};

static const struct key node_keys[] = {
	{"role", set_node_role, true},
	{"address", set_node_address, true},
	{"key", set_node_key, true},
	{"disk", set_node_disk, false},
	{"cache", set_node_cache, false},
	{"tags", set_node_tags, false},
	{0},
};

static const struct key address_keys[] = {
	{"role", set_address_role, true},
	{"address", set_address_address, true},
	{"prefer", set_address_prefer, true},
	{0},
};

static const struct key share_keys[] = {
	{"address", set_share_address, true},
	{"seed", set_share_seed, false},
	{0},
};

static const struct {
	const char *name;
	const struct key *keys;
} sections[] = {
	[SECTION_TOP] = {"the top", top_keys},
	[SECTION_NODE] = {"node", node_keys},
	[SECTION_ADDRESS] = {"address", address_keys},
	[SECTION_SHARE] = {"share", share_keys},
};

static const char *key_name(size_t index, const void *context)
{
	const struct key *keys = context;
	return keys[index].name;
}

static void set_key(struct parser *parser, const struct line *line)
{
	const struct key *keys = sections[parser->section].keys;
	struct place place = {parser->report, parser->file, line->number, line->key};
	for (size_t i = 0; keys[i].name; i++) {
		if (strcmp(keys[i].name, line->key) != 0)
			continue;
		if (parser->seen & (1u << i))
			place_wrong(&place, "found a second time, expected once");
		else
			keys[i].set(parser, &place, line->value);
		parser->seen |= 1u << i;
		return;
	}
	const char *hint = nearest(line->key, key_name, keys);
	place_wrong(&place, "unknown key in %s%s%s%s", sections[parser->section].name,
		    hint ? ", did you mean \"" : "", hint ? hint : "", hint ? "\"?" : "");
}

/* The present section ends: are its required keys there? */
static void end_section(struct parser *parser)
{
	const struct key *keys = sections[parser->section].keys;
	for (size_t i = 0; parser->section_line > 0 && keys[i].name; i++) {
		if (keys[i].required && !(parser->seen & (1u << i)))
			config_report_add(parser->report, parser->file, parser->section_line,
					  "%s: found no key \"%s\", expected one",
					  sections[parser->section].name, keys[i].name);
	}
	parser->seen = 0;
	parser->section_line = 0;
}

/* A new entry of the present kind with that name; false when the name is taken or there is no room.
 */
static bool add_entry(struct parser *parser, const struct place *place, const char *name)
{
	struct cluster *cluster = parser->cluster;
	bool taken, room;
	char checked[NAME_BYTES];

	if (!value_name(place, name, checked))
		return false;
	switch (parser->section) {
	case SECTION_NODE:
		taken = cluster_find_node(cluster, name);
		room = cluster->node_count < CLUSTER_NODES_MAX;
		break;
	case SECTION_ADDRESS:
		taken = cluster_find_address(cluster, name);
		room = cluster->address_count < CLUSTER_ADDRESSES_MAX;
		break;
	default:
		taken = cluster_find_share(cluster, name);
		room = cluster->share_count < CLUSTER_SHARES_MAX;
		break;
	}
	if (taken)
		return place_wrong(place, "found \"%s\" a second time, expected names to differ",
				   name);
	if (!room)
		return place_wrong(place, "found one more than the maximum");

	if (parser->section == SECTION_NODE) {
		struct cluster_node *entry = &cluster->node[cluster->node_count];
		parser->node_line[cluster->node_count] = place->line;
		memcpy(entry->name, checked, sizeof(checked));
		entry->id = (uint16_t)++cluster->node_count;
	} else if (parser->section == SECTION_ADDRESS) {
		struct cluster_address *entry = &cluster->address[cluster->address_count];
		parser->address_line[cluster->address_count] = place->line;
		memcpy(entry->name, checked, sizeof(checked));
		entry->id = (uint16_t)++cluster->address_count;
	} else {
		struct cluster_share *entry = &cluster->share[cluster->share_count];
		memcpy(entry->name, checked, sizeof(checked));
		entry->id = (uint16_t)++cluster->share_count;
	}
	return true;
}

/* False: the section is refused, its keys are to be skipped. */
static bool begin_section(struct parser *parser, const struct line *line)
{
	end_section(parser);
	struct place place = {parser->report, parser->file, line->number, line->key};
	for (size_t i = SECTION_NODE; i <= SECTION_SHARE; i++) {
		if (strcmp(sections[i].name, line->key) != 0)
			continue;
		parser->section = (enum section_kind)i;
		if (!add_entry(parser, &place, line->value))
			return false;
		parser->section_line = line->number;
		return true;
	}
	place.key = "section";
	return place_expected(&place, line->key, "node, address or share");
}

static void resolve_voters(struct parser *parser)
{
	struct cluster *cluster = parser->cluster;
	struct place place = {parser->report, parser->file, parser->voters_line, "voters"};
	if (parser->voters_line == 0)
		return;
	for (size_t i = 0; i < parser->voters.count; i++) {
		const char *name = parser->voters.word[i];
		struct cluster_node *voter =
			(struct cluster_node *)cluster_find_node(cluster, name);
		if (!voter) {
			place_expected(&place, name, "the name of a node");
		} else if (voter->voter) {
			place_wrong(&place, "found \"%s\" a second time, expected once", name);
		} else {
			voter->voter = true;
			cluster->voter_count++;
		}
	}
	if (parser->voters.count % 2 == 0)
		place_wrong(&place,
			    "found %zu nodes, expected an odd number: an even one survives no more "
			    "losses",
			    parser->voters.count);
}

static void resolve_addresses(struct parser *parser)
{
	struct cluster *cluster = parser->cluster;
	for (size_t i = 0; i < cluster->address_count; i++) {
		struct cluster_address *entry = &cluster->address[i];
		struct place place = {parser->report, parser->file, parser->prefer[i].line,
				      "prefer"};
		if (place.line == 0)
			continue;
		entry->prefer = cluster_find_node(cluster, parser->prefer[i].text);
		if (!entry->prefer)
			place_expected(&place, parser->prefer[i].text, "the name of a node");
		else if (entry->role[0] && entry->prefer->role[0] &&
			 strcmp(entry->prefer->role, entry->role) != 0)
			place_wrong(&place, "found node \"%s\" of role %s, expected one of role %s",
				    entry->prefer->name, entry->prefer->role, entry->role);
	}
}

static void resolve_shares(struct parser *parser)
{
	struct cluster *cluster = parser->cluster;
	for (size_t i = 0; i < cluster->share_count; i++) {
		struct cluster_share *entry = &cluster->share[i];
		struct reference *reference = &parser->share_address[i];
		struct place place = {parser->report, parser->file, reference->line, "address"};
		if (place.line == 0)
			continue;
		entry->address = cluster_find_address(cluster, reference->text);
		if (!entry->address)
			place_expected(&place, reference->text, "the name of a service address");
		else if (entry->address->role[0] && strcmp(entry->address->role, "data") != 0)
			place_wrong(&place,
				    "found address \"%s\" of role %s, expected one of role data",
				    entry->address->name, entry->address->role);
	}
}

/* Every IPv4 address belongs to one node or service address. */
static void check_addresses(struct parser *parser)
{
	const struct cluster *cluster = parser->cluster;
	size_t count = cluster->node_count + cluster->address_count;
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j <= i; j++) {
			bool i_node = i < cluster->node_count, j_node = j < cluster->node_count;
			size_t i_at = i_node ? i : i - cluster->node_count,
			       j_at = j_node ? j : j - cluster->node_count;
			uint32_t mine = i_node ? cluster->node[i_at].address.address.s_addr
					       : cluster->address[i_at].address.address.s_addr;
			uint32_t other = j_node ? cluster->node[j_at].address.address.s_addr
						: cluster->address[j_at].address.address.s_addr;
			if (i == j || mine == 0 || mine != other)
				continue;
			config_report_add(
				parser->report, parser->file,
				i_node ? parser->node_line[i_at] : parser->address_line[i_at],
				"address: found the same as of %s %s, expected addresses to differ",
				j_node ? "node" : "address",
				j_node ? cluster->node[j_at].name : cluster->address[j_at].name);
			break;
		}
	}
}

/* A router that a node cannot reach directly is none. */
static void check_gateway(struct parser *parser)
{
	const struct cluster *cluster = parser->cluster;
	const struct place place = {parser->report, parser->file, parser->gateway_line, "gateway"};

	for (size_t i = 0; parser->gateway_line > 0 && i < cluster->node_count; i++) {
		const struct cluster_node *entry = &cluster->node[i];
		uint32_t mask = entry->address.length ? ~0U << (32 - entry->address.length) : 0;
		if (((ntohl(entry->address.address.s_addr) ^ ntohl(cluster->gateway.s_addr)) &
		     mask) == 0)
			continue;
		place_wrong(&place, "expected an address in the network of node %s", entry->name);
		return;
	}
}

static bool share_a_key(const struct cluster_node *a, const struct cluster_node *b)
{
	for (size_t i = 0; i < a->key_count; i++)
		if (cluster_has_key(b, a->key[i]))
			return true;
	return false;
}

static void check_nodes(struct parser *parser)
{
	const struct cluster *cluster = parser->cluster;
	size_t data = 0;
	for (size_t i = 0; i < cluster->node_count; i++) {
		const struct cluster_node *entry = &cluster->node[i];
		bool is_data = strcmp(entry->role, "data") == 0;
		data += is_data;
		if (is_data && !entry->disk)
			config_report_add(parser->report, parser->file, parser->node_line[i],
					  "node: found role data without \"disk\", expected one");
		if (!is_data && entry->role[0] && entry->disk)
			config_report_add(
				parser->report, parser->file, parser->node_line[i],
				"node: found \"disk\" in role %s, expected it in role data only",
				entry->role);
		for (size_t j = 0; j < i; j++) {
			if (!share_a_key(entry, &cluster->node[j]))
				continue;
			config_report_add(
				parser->report, parser->file, parser->node_line[i],
				"key: found the same as of node %s, expected a key of its own",
				cluster->node[j].name);
			break;
		}
	}
	if (cluster->node_count > 0 && (data < 1 || data > 2))
		config_report_add(parser->report, parser->file, 0,
				  "found %zu nodes of role data, expected 1 or 2", data);
	if (cluster->node_count == 0)
		config_report_add(parser->report, parser->file, 0,
				  "found no nodes, expected [node NAME]");
}

struct cluster *cluster_parse(struct arena *arena, const char *file, const char *text, size_t size,
			      struct config_report *report)
{
	size_t before = report->seen;
	struct cluster *cluster = arena_alloc(arena, sizeof(*cluster));
	struct parser *parser = arena_alloc(arena, sizeof(*parser));
	if (!cluster || !parser) {
		config_report_add(report, file, 0, "out of memory");
		return NULL;
	}
	cluster->gossip_port = GOSSIP_PORT_DEFAULT;
	/* docs/CLUSTER-FILE.md says why these. */
	cluster->timers = (struct cluster_timers){
		.drbd_timeout = 1000, .nfs_lease = 35000, .nfs_grace = 15000};
	*parser = (struct parser){.arena = arena,
				  .report = report,
				  .file = file,
				  .cluster = cluster,
				  .section_line = 1};

	struct lines lines;
	struct line line;
	bool skipping = false;
	if (!lines_init(&lines, arena, report, file, text, size))
		return NULL;
	while (lines_next(&lines, &line)) {
		if (line.kind == LINE_SECTION)
			skipping = !begin_section(parser, &line);
		else if (!skipping)
			set_key(parser, &line);
	}
	end_section(parser);

	resolve_voters(parser);
	resolve_addresses(parser);
	resolve_shares(parser);
	check_addresses(parser);
	check_nodes(parser);
	check_gateway(parser);
	return report->seen == before ? cluster : NULL;
}

bool node_identity_parse(struct node_identity *identity, const char *file, const char *text,
			 size_t size, struct config_report *report)
{
	static const char *const keys[] = {"name", "secret-key"};
	size_t before = report->seen;
	bool seen[2] = {false};
	struct arena arena = {0};
	struct lines lines;
	struct line line;

	memset(identity, 0, sizeof(*identity));
	if (!lines_init(&lines, &arena, report, file, text, size))
		return false;
	while (lines_next(&lines, &line)) {
		struct place place = {report, file, line.number, line.key};
		size_t at = strcmp(line.key, keys[0]) == 0   ? 0
			    : strcmp(line.key, keys[1]) == 0 ? 1
							     : 2;
		if (line.kind == LINE_SECTION || at == 2) {
			place_wrong(&place, "unknown key, expected name or secret-key");
			continue;
		}
		if (seen[at])
			place_wrong(&place, "found a second time, expected once");
		else if (at == 0)
			value_name(&place, line.value, identity->name);
		else
			value_key(&place, line.value, identity->secret_key);
		seen[at] = true;
		if (at == 1)
			sodium_memzero((char *)line.value, strlen(line.value));
	}
	for (size_t i = 0; i < 2; i++) {
		if (!seen[i])
			config_report_add(report, file, 0, "found no key \"%s\", expected one",
					  keys[i]);
	}
	arena_free(&arena);
	if (report->seen != before)
		sodium_memzero(identity, sizeof(*identity));
	return report->seen == before;
}

bool cluster_has_key(const struct cluster_node *entry, const uint8_t key[KEY_BYTES])
{
	for (size_t i = 0; i < entry->key_count; i++)
		if (memcmp(entry->key[i], key, KEY_BYTES) == 0)
			return true;
	return false;
}

const struct cluster_node *cluster_find_node(const struct cluster *cluster, const char *name)
{
	for (size_t i = 0; i < cluster->node_count; i++) {
		if (strcmp(cluster->node[i].name, name) == 0)
			return &cluster->node[i];
	}
	return NULL;
}

const struct cluster_address *cluster_find_address(const struct cluster *cluster, const char *name)
{
	for (size_t i = 0; i < cluster->address_count; i++) {
		if (strcmp(cluster->address[i].name, name) == 0)
			return &cluster->address[i];
	}
	return NULL;
}

const struct cluster_share *cluster_find_share(const struct cluster *cluster, const char *name)
{
	for (size_t i = 0; i < cluster->share_count; i++) {
		if (strcmp(cluster->share[i].name, name) == 0)
			return &cluster->share[i];
	}
	return NULL;
}

const struct cluster_node *cluster_peer(const struct cluster *cluster,
					const struct cluster_node *self)
{
	const struct cluster_node *peer = NULL;
	for (size_t i = 0; i < cluster->node_count; i++) {
		const struct cluster_node *other = &cluster->node[i];
		if (other == self || strcmp(other->role, self->role) != 0)
			continue;
		if (peer)
			return NULL;
		peer = other;
	}
	return peer;
}
