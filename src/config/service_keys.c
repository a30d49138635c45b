/* The keys of a service file: one table. docs/SERVICES.md is the same table in words. */
#include "src/config/service_keys.h"

#include <stddef.h>
#include <string.h>

enum shape {
	TEXT, /* the rest of the line, as it stands */
	ONE,  /* one word */
	SOME, /* one word or more */
	LIST, /* words, perhaps none once list variables are expanded */
	BARE, /* words that hold no variables: a percent sign is one */
};

enum key_flag {
	REPEATS = 1 << 0, /* may stand in a file more than once */
	LIVE = 1 << 1,	/* for the supervising process alone: can change under a running service */
	APART = 1 << 2, /* shows in which services there are, not in what one of them is */
};

struct key {
	const char *name;
	enum shape shape;
	unsigned flags; /* enum key_flag */
	/* `field`: what `offset` points at in the draft. */
	key_setter *set;
	size_t offset;
};

#define ALPHANUMERIC "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool out_of_memory(const struct place *place)
{
	return place_wrong(place, "out of memory");
}

/* Room for one more element of a vector in the arena; NULL when reported. */
static void *grow(struct service_reader *reader, const struct place *place, void *old, size_t count,
		  size_t *capacity, size_t element_bytes)
{
	if (count < *capacity)
		return old;
	size_t more = *capacity ? *capacity * 2 : 4;
	void *grown = arena_alloc(reader->loader->arena, more * element_bytes);
	if (!grown) {
		out_of_memory(place);
		return NULL;
	}
	if (count > 0)
		memcpy(grown, old, count * element_bytes);
	*capacity = more;
	return grown;
}

/* --- one setter for each kind of value */

static bool set_text(struct service_reader *reader, const struct place *place,
		     const struct words *words, void *field)
{
	(void)reader;
	(void)place;
	*(const char **)field = words->word[0];
	return true;
}

static bool set_bool(struct service_reader *reader, const struct place *place,
		     const struct words *words, void *field)
{
	(void)reader;
	return value_bool(place, words->word[0], field);
}

static bool set_duration(struct service_reader *reader, const struct place *place,
			 const struct words *words, void *field)
{
	(void)reader;
	return value_duration(place, words->word[0], field);
}

static bool set_delay(struct service_reader *reader, const struct place *place,
		      const struct words *words, void *field)
{
	(void)reader;
	if (strcmp(words->word[0], "none") == 0)
		return place_expected(place, "none", "a duration such as 500ms, 5s, 2m, 1h");
	return value_duration(place, words->word[0], field);
}

static bool set_path(struct service_reader *reader, const struct place *place,
		     const struct words *words, void *field)
{
	return value_path(place, words->word[0]) && set_text(reader, place, words, field);
}

static bool set_paths(struct service_reader *reader, const struct place *place,
		      const struct words *words, void *field)
{
	(void)reader;
	for (size_t i = 0; i < words->count; i++) {
		if (!value_path(place, words->word[i]))
			return false;
	}
	*(struct words *)field = *words;
	return true;
}

static bool set_kind(struct service_reader *reader, const struct place *place,
		     const struct words *words, void *field)
{
	static const struct {
		const char *name;
		enum service_kind kind;
	} kinds[] = {
		{"daemon", SERVICE_DAEMON}, {"oneshot", SERVICE_ONESHOT}, {"group", SERVICE_GROUP}};
	(void)reader;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, words->word[0]) == 0) {
			*(enum service_kind *)field = kinds[i].kind;
			return true;
		}
	}
	return place_expected(place, words->word[0], "daemon, oneshot or group");
}

static bool set_dependencies(struct service_reader *reader, const struct place *place,
			     const struct words *words, void *field)
{
	(void)reader;
	for (size_t i = 0; i < words->count; i++) {
		if (!service_name_good(words->word[i]))
			return place_expected(place, words->word[i],
					      "the name of a service: NAME or NAME@INSTANCE");
	}
	*(struct dependency_names *)field = (struct dependency_names){*words, place->line};
	return true;
}

static bool set_when(struct service_reader *reader, const struct place *place,
		     const struct words *words, void *field)
{
	(void)field;
	struct service_def *def = &reader->draft->def;
	struct condition condition = {0};
	const struct cluster *cluster = reader->scope.cluster;
	if (words->count != 2)
		return place_wrong(place, "found %zu words, expected lease NAME or path PATH",
				   words->count);
	condition.argument = words->word[1];
	if (strcmp(words->word[0], "lease") == 0) {
		condition.kind = CONDITION_LEASE;
		if (!cluster)
			return place_wrong(place, "needs cluster.conf, and there is none");
		if (!cluster_find_address(cluster, condition.argument))
			return place_expected(place, condition.argument,
					      "the name of a service address");
	} else if (strcmp(words->word[0], "path") == 0) {
		condition.kind = CONDITION_PATH;
		if (!value_local_path(place, condition.argument))
			return false;
	} else {
		return place_expected(place, words->word[0], "lease or path");
	}
	struct condition *grown = grow(reader, place, def->condition, def->condition_count,
				       &reader->condition_capacity, sizeof(*grown));
	if (!grown)
		return false;
	def->condition = grown;
	def->condition[def->condition_count++] = condition;
	return true;
}

static bool set_listen(struct service_reader *reader, const struct place *place,
		       const struct words *words, void *field)
{
	(void)field;
	struct service_def *def = &reader->draft->def;
	struct listen_def listen;
	if (words->count != 2)
		return place_wrong(
			place,
			"found %zu words, expected tcp ADDRESS:PORT, udp ADDRESS:PORT or unix PATH",
			words->count);
	if (!value_socket(reader->loader->arena, place, words->word[0], words->word[1], &listen))
		return false;
	struct listen_def *grown = grow(reader, place, def->listen, def->listen_count,
					&reader->listen_capacity, sizeof(*grown));
	if (!grown)
		return false;
	def->listen = grown;
	def->listen[def->listen_count++] = listen;
	return true;
}

static bool set_listen_from(struct service_reader *reader, const struct place *place,
			    const struct words *words, void *field)
{
	(void)field;
	struct service_def *def = &reader->draft->def;
	if (words->count > LISTEN_FROM_MAX)
		return place_wrong(place, "found %zu addresses, expected at most %d", words->count,
				   LISTEN_FROM_MAX);
	def->listen_from =
		arena_alloc(reader->loader->arena, words->count * sizeof(*def->listen_from));
	if (!def->listen_from)
		return place_wrong(place, "out of memory");
	for (size_t i = 0; i < words->count; i++) {
		if (!value_ipv4(place, words->word[i], &def->listen_from[i]))
			return false;
	}
	def->listen_from_count = words->count;
	return true;
}

static bool set_signal(struct service_reader *reader, const struct place *place,
		       const struct words *words, void *field)
{
	(void)reader;
	return value_signal(place, words->word[0], field);
}

static bool set_template(struct service_reader *reader, const struct place *place,
			 const struct words *words, void *field)
{
	(void)field;
	struct service_def *def = &reader->draft->def;
	struct template_def template = {0};
	if (words->count != 3 || strcmp(words->word[1], "->") != 0)
		return place_wrong(place, "found something else, expected FILE -> /PATH");
	template.name = words->word[0];
	template.path = words->word[2];
	if (!value_path(place, template.path))
		return false;
	template.text = source_template(reader->loader, place, reader->file, template.name,
					&reader->scope, &template.size);
	if (!template.text)
		return false;
	crypto_generichash_update(&reader->digest, (const uint8_t *)template.text, template.size);
	struct template_def *grown = grow(reader, place, def->template, def->template_count,
					  &reader->template_capacity, sizeof(*grown));
	if (!grown)
		return false;
	def->template = grown;
	def->template[def->template_count++] = template;
	return true;
}

static bool set_user(struct service_reader *reader, const struct place *place,
		     const struct words *words, void *field)
{
	(void)field;
	struct service_def *def = &reader->draft->def;
	gid_t group = 0;
	if (!value_user(place, &reader->loader->accounts, words->word[0], &def->uid, &group))
		return false;
	if (!reader->has_group)
		def->gid = group;
	def->has_user = true;
	return true;
}

static bool set_groups(struct service_reader *reader, const struct place *place,
		       const struct words *words, void *field)
{
	(void)field;
	struct service_def *def = &reader->draft->def;
	size_t most = sizeof(def->groups) / sizeof(def->groups[0]);
	if (words->count > most)
		return place_wrong(place, "found %zu groups, expected at most %zu", words->count,
				   most);
	for (size_t i = 0; i < words->count; i++) {
		if (!value_group(place, &reader->loader->accounts, words->word[i], &def->groups[i]))
			return false;
		def->group_count++;
	}
	return true;
}

/* In place of the group that `user` brings along, whichever comes first. */
static bool set_group(struct service_reader *reader, const struct place *place,
		      const struct words *words, void *field)
{
	reader->has_group = true;
	return value_group(place, &reader->loader->accounts, words->word[0], field);
}

static bool set_octal(struct service_reader *reader, const struct place *place,
		      const struct words *words, void *field)
{
	(void)reader;
	return value_octal(place, words->word[0], field);
}

static bool set_nice(struct service_reader *reader, const struct place *place,
		     const struct words *words, void *field)
{
	int64_t value;
	(void)reader;
	if (!value_number(place, words->word[0], -20, 19, &value))
		return false;
	*(int *)field = (int)value;
	return true;
}

static bool set_oom_score(struct service_reader *reader, const struct place *place,
			  const struct words *words, void *field)
{
	int64_t value;
	(void)reader;
	if (!value_number(place, words->word[0], -1000, 1000, &value))
		return false;
	*(int *)field = (int)value;
	return true;
}

static bool set_limit(struct service_reader *reader, const struct place *place,
		      const struct words *words, void *field)
{
	(void)field;
	struct service_def *def = &reader->draft->def;
	struct limit_def limit;
	if (!value_limit(place, place->key + strlen("limit-"), words, &limit))
		return false;
	for (size_t i = 0; i < def->limit_count; i++) {
		if (def->limit[i].resource == limit.resource)
			return place_wrong(place, "found a second time, expected once");
	}
	struct limit_def *grown = grow(reader, place, def->limit, def->limit_count,
				       &reader->limit_capacity, sizeof(*grown));
	if (!grown)
		return false;
	def->limit = grown;
	def->limit[def->limit_count++] = limit;
	return true;
}

/* What a service is told about its run has one source. */
static bool may_be_set(const char *name, size_t length)
{
	static const char *const ours[] = {"INVOCATION_ID",   "NOTIFY_SOCKET",	"LISTEN_FDS",
					   "LISTEN_PID",      "LISTEN_FDNAMES", "WATCHDOG_USEC",
					   "WATCHDOG_PID",    "MAINPID",	"SUPERVISOR_CONFIG",
					   "SUPERVISOR_NODE", "SUPERVISOR_RUN"};
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strlen(ours[i]) == length && strncmp(ours[i], name, length) == 0)
			return false;
	return true;
}

static bool set_environment(struct service_reader *reader, const struct place *place,
			    const struct words *words, void *field)
{
	struct words *environment = field;
	for (size_t i = 0; i < words->count; i++) {
		const char *word = words->word[i];
		size_t name = strspn(word, ALPHANUMERIC "_");
		if (name == 0 || word[name] != '=' || (word[0] >= '0' && word[0] <= '9'))
			return place_expected(place, word, "NAME=VALUE");
		if (!may_be_set(word, name))
			return place_wrong(place, "found %.*s, which the supervisor sets itself",
					   (int)name, word);
		for (size_t j = 0; j < environment->count; j++) {
			if (strncmp(environment->word[j], word, name + 1) == 0)
				return place_wrong(place, "found %.*s a second time, expected once",
						   (int)name, word);
		}
		if (!words_add(reader->loader->arena, environment, &reader->environment_capacity,
			       words->word[i]))
			return out_of_memory(place);
	}
	return true;
}

static bool set_runtime_directory(struct service_reader *reader, const struct place *place,
				  const struct words *words, void *field)
{
	(void)reader;
	for (size_t i = 0; i < words->count; i++) {
		const char *word = words->word[i];
		size_t length = strspn(word, ALPHANUMERIC "._-@:");
		if (length == 0 || word[length] || word[0] == '.')
			return place_expected(place, word, "the name of a directory below /run");
	}
	*(struct words *)field = *words;
	return true;
}

static bool set_capabilities(struct service_reader *reader, const struct place *place,
			     const struct words *words, void *field)
{
	(void)field;
	struct service_def *def = &reader->draft->def;
	if (words->count == 1 && strcmp(words->word[0], "all") == 0) {
		def->all_capabilities = true;
		return true;
	}
	for (size_t i = 0; i < words->count; i++) {
		int capability;
		if (!value_capability(place, words->word[i], &capability))
			return false;
		def->capabilities |= UINT64_C(1) << capability;
	}
	return true;
}

/* Its names are checked where the filter is compiled (src/process/seccomp.c); here only what they
 * are made of. */
static bool set_seccomp(struct service_reader *reader, const struct place *place,
			const struct words *words, void *field)
{
	(void)reader;
	for (size_t i = 0; i < words->count; i++) {
		const char *word = words->word[i];
		size_t length = strspn(word + (word[0] == '@'), ALPHANUMERIC "_-:");
		if (length == 0 || word[length + (word[0] == '@')])
			return place_expected(place, word,
					      "a system call or @GROUP, perhaps with :ERRNO");
	}
	*(struct words *)field = *words;
	return true;
}

static bool set_root(struct service_reader *reader, const struct place *place,
		     const struct words *words, void *field)
{
	const char *root = words->word[0];
	if (strcmp(root, "empty") != 0 && (root[0] != '/' || root[1] == 0))
		return place_expected(place, root,
				      "empty, or the absolute path of a directory below /");
	return (root[0] != '/' || value_path(place, root)) && set_text(reader, place, words, field);
}

static bool set_size(struct service_reader *reader, const struct place *place,
		     const struct words *words, void *field)
{
	(void)reader;
	return value_size(place, words->word[0], field);
}

static bool set_pids(struct service_reader *reader, const struct place *place,
		     const struct words *words, void *field)
{
	int64_t value;
	(void)reader;
	if (!value_number(place, words->word[0], 1, 1 << 22, &value))
		return false;
	*(uint32_t *)field = (uint32_t)value;
	return true;
}

static bool set_instances(struct service_reader *reader, const struct place *place,
			  const struct words *words, void *field)
{
	(void)reader;
	return value_number(place, words->word[0], 1, POOL_MEMBERS_MAX, field);
}

#define DEF(field)   offsetof(struct service_draft, def.field)
#define DRAFT(field) offsetof(struct service_draft, field)

static const struct key keys[] = {
	{"description", TEXT, LIVE, set_text, DEF(description)},
	{"kind", ONE, 0, set_kind, DEF(kind)},
	{"start", SOME, 0, key_command, DEF(start)},
	{"stop", SOME, 0, key_command, DEF(stop)},
	{"reload", SOME, LIVE, key_command, DEF(reload)},
	{"reload-signal", ONE, LIVE, set_signal, DEF(reload_signal)},
	{"requires", LIST, LIVE, set_dependencies, DRAFT(requires)},
	{"wants", LIST, LIVE, set_dependencies, DRAFT(wants)},
	{"after", LIST, LIVE, set_dependencies, DRAFT(after)},
	{"conflicts", LIST, LIVE, set_dependencies, DRAFT(conflicts)},
	{"when-lost", ONE, LIVE, key_when_lost, DEF(lost_keep)},
	{"when", LIST, REPEATS | LIVE, set_when, 0},
	{"listen", LIST, REPEATS, set_listen, 0},
	{"listen-from", LIST, 0, set_listen_from, 0},
	{"ready", SOME, 0, key_ready, 0},
	{"start-timeout", ONE, LIVE, set_duration, DEF(start_timeout_ms)},
	{"stop-timeout", ONE, LIVE, set_duration, DEF(stop_timeout_ms)},
	{"stop-signal", ONE, LIVE, set_signal, DEF(stop_signal)},
	{"restart", ONE, LIVE, key_restart, DEF(restart)},
	{"restart-delay", ONE, LIVE, set_delay, DEF(restart_delay_ms)},
	{"restart-delay-max", ONE, LIVE, set_delay, DEF(restart_delay_max_ms)},
	{"healthy-after", ONE, LIVE, set_delay, DEF(healthy_after_ms)},
	{"success-exit", LIST, LIVE, key_success_exit, 0},
	{"restart-limit", SOME, LIVE, key_restart_limit, 0},
	{"on-limit", SOME, LIVE, key_on_limit, 0},
	{"check", SOME, LIVE, key_check, 0},
	{"check-interval", ONE, LIVE, set_delay, DEF(check_interval_ms)},
	{"check-timeout", ONE, LIVE, set_delay, DEF(check_timeout_ms)},
	{"check-retries", ONE, LIVE, key_check_retries, DEF(check_retries)},
	{"check-start-period", ONE, LIVE, set_duration, DEF(check_start_period_ms)},
	{"watchdog", ONE, 0, set_delay, DEF(watchdog_ms)},
	{"on-demand", ONE, 0, set_bool, DEF(on_demand)},
	{"idle-stop", ONE, LIVE, set_delay, DEF(idle_stop_ms)},
	{"reads-cluster", ONE, LIVE, set_bool, DEF(reads_cluster)},
	{"first", ONE, LIVE, set_bool, DEF(first)},
	{"channel", ONE, 0, set_bool, DEF(channel)},
	{"template", LIST, REPEATS, set_template, 0},
	{"user", ONE, 0, set_user, 0},
	{"group", ONE, 0, set_group, DEF(gid)},
	{"groups", LIST, 0, set_groups, 0},
	{"umask", ONE, 0, set_octal, DEF(umask)},
	{"nice", ONE, 0, set_nice, DEF(nice)},
	{"oom-score", ONE, 0, set_oom_score, DEF(oom_score_adj)},
	{"limit-*", SOME, REPEATS, set_limit, 0},
	{"directory", ONE, 0, set_path, DEF(directory)},
	{"environment", LIST, REPEATS, set_environment, DEF(environment)},
	{"runtime-directory", LIST, 0, set_runtime_directory, DEF(runtime_directories)},
	{"capabilities", LIST, 0, set_capabilities, 0},
	{"seccomp", LIST, 0, set_seccomp, DEF(seccomp)},
	{"no-new-privileges", ONE, 0, set_bool, DEF(no_new_privileges)},
	{"private-tmp", ONE, 0, set_bool, DEF(private_tmp)},
	{"private-network", ONE, 0, set_bool, DEF(private_network)},
	{"root", ONE, 0, set_root, DEF(root)},
	{"hidden", LIST, 0, set_paths, DEF(hidden)},
	{"memory-max", ONE, 0, set_size, DEF(memory_max_bytes)},
	{"pids-max", ONE, 0, set_pids, DEF(pids_max)},
	{"scheduling", SOME, 0, key_scheduling, DEF(share)},
	{"cpu-affinity", SOME, 0, key_cpu_affinity, DEF(share.cpu_affinity)},
	{"io-class", SOME, 0, key_io_class, DEF(share.io_priority)},
	{"memory-high", ONE, 0, set_size, DEF(share.memory_high_bytes)},
	{"cpu-weight", ONE, 0, key_weight, DEF(share.cpu_weight)},
	{"cpu-max", BARE, 0, key_cpu_max, DEF(share)},
	{"io-weight", ONE, 0, key_weight, DEF(share.io_weight)},
	{"instances", ONE, APART, set_instances, DRAFT(instances)},
};

#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))
_Static_assert(KEY_COUNT <= SERVICE_KEYS_MAX, "a line number for each key");

static bool key_matches(const struct key *key, const char *name)
{
	size_t length = strlen(key->name);
	if (key->name[length - 1] != '*')
		return strcmp(key->name, name) == 0;
	return strncmp(key->name, name, length - 1) == 0;
}

static const char *key_name(size_t index, const void *context)
{
	(void)context;
	return index < KEY_COUNT ? keys[index].name : NULL;
}

/* What cannot change under a running process, and the rest, word by word. */
static void digest(struct service_reader *reader, const struct key *key, const char *name,
		   const struct words *words)
{
	if (key->flags & APART)
		return;
	crypto_generichash_state *state = key->flags & LIVE ? &reader->live : &reader->digest;
	crypto_generichash_update(state, (const uint8_t *)name, strlen(name) + 1);
	for (size_t i = 0; i < words->count; i++)
		crypto_generichash_update(state, (const uint8_t *)words->word[i],
					  strlen(words->word[i]) + 1);
	crypto_generichash_update(state, (const uint8_t *)"", 1);
}

static bool set_key(struct service_reader *reader, const struct key *key, const struct place *place,
		    const char *value)
{
	struct loader *loader = reader->loader;
	void *field = (char *)reader->draft + key->offset;
	struct words raw, words;

	if (key->shape == TEXT) {
		char *text = (char *)expand_one(loader->arena, loader->scratch, place,
						&reader->scope, value);
		char *one[] = {text, NULL};
		words = (struct words){one, 1};
		if (text)
			digest(reader, key, place->key, &words);
		return text && key->set(reader, place, &words, field);
	}
	if (key->shape == BARE) {
		if (!words_split(loader->arena, place, value, &words))
			return false;
		digest(reader, key, place->key, &words);
		return key->set(reader, place, &words, field);
	}
	if (!words_split(loader->scratch, place, value, &raw) ||
	    !expand_words(loader->arena, loader->scratch, place, &reader->scope, &raw, &words))
		return false;
	if (key->shape == ONE && words.count != 1)
		return place_wrong(place, "found %zu words, expected one", words.count);
	if (key->shape == SOME && words.count == 0)
		return place_expected(place, value, "something that is not empty once expanded");
	digest(reader, key, place->key, &words);
	return key->set(reader, place, &words, field);
}

bool service_key_set(struct service_reader *reader, const struct line *line)
{
	struct loader *loader = reader->loader;
	const struct place place = {loader->report, reader->file->shown, line->number, line->key};
	if (line->kind == LINE_SECTION)
		return place_wrong(&place, "found a section, expected KEY = VALUE lines only");
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (!key_matches(&keys[i], line->key))
			continue;
		if (reader->line[i] && !(keys[i].flags & REPEATS))
			return place_wrong(&place, "found a second time, expected once");
		reader->line[i] = line->number;
		return set_key(reader, &keys[i], &place, line->value);
	}
	const char *hint = nearest(line->key, key_name, NULL);
	return place_wrong(&place, "unknown key%s%s%s", hint ? ", did you mean \"" : "",
			   hint ? hint : "", hint ? "\"?" : "");
}

int service_key_line(const struct service_reader *reader, const char *name)
{
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (key_matches(&keys[i], name))
			return reader->line[i];
	}
	return 0;
}
