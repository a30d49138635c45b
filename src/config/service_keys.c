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

struct key {
	const char *name;
	enum shape shape;
	bool repeats;
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

static bool set_restart(struct service_reader *reader, const struct place *place,
			const struct words *words, void *field)
{
	static const struct {
		const char *name;
		enum restart_mode mode;
	} modes[] = {{"always", RESTART_ALWAYS},
		     {"on-failure", RESTART_ON_FAILURE},
		     {"never", RESTART_NEVER}};
	(void)reader;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(modes[i].name, words->word[0]) == 0) {
			*(enum restart_mode *)field = modes[i].mode;
			return true;
		}
	}
	return place_expected(place, words->word[0], "always, on-failure or never");
}

static bool set_command(struct service_reader *reader, const struct place *place,
			const struct words *words, void *field)
{
	(void)reader;
	struct command *command = field;
	char *program = words->word[0];
	struct command read = {.argv = *words, .builtin = program[0] == '@'};
	if (read.builtin) {
		size_t length = strspn(program + 1, "abcdefghijklmnopqrstuvwxyz0123456789-");
		if (length == 0 || program[1 + length])
			return place_expected(place, program,
					      "@ and the name of a built-in worker");
		read.argv.word[0] = program + 1;
	} else if (program[0] != '/') {
		return place_expected(place, program, "the program's absolute path, or @WORKER");
	} else if (!value_path(place, program)) {
		return false;
	}
	*command = read;
	return true;
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

static bool set_ready(struct service_reader *reader, const struct place *place,
		      const struct words *words, void *field)
{
	(void)field;
	struct service_def *def = &reader->draft->def;
	const char *mode = words->word[0];
	bool target = words->count == 2;
	if (words->count == 1 && strcmp(mode, "now") == 0)
		def->ready = READY_NOW;
	else if (words->count == 1 && strcmp(mode, "exit") == 0)
		def->ready = READY_EXIT;
	else if (words->count == 1 && strcmp(mode, "notify") == 0)
		def->ready = READY_NOTIFY;
	else if (target && strcmp(mode, "tcp") == 0)
		def->ready = READY_TCP;
	else if (target && strcmp(mode, "unix") == 0)
		def->ready = READY_UNIX;
	else
		return place_expected(place, mode,
				      "now, exit, notify, tcp ADDRESS:PORT or unix PATH");
	return !target ||
	       value_socket(reader->loader->arena, place, mode, words->word[1], &def->ready_target);
}

static bool set_signal(struct service_reader *reader, const struct place *place,
		       const struct words *words, void *field)
{
	(void)reader;
	return value_signal(place, words->word[0], field);
}

static bool set_success_exit(struct service_reader *reader, const struct place *place,
			     const struct words *words, void *field)
{
	(void)field;
	struct service_def *def = &reader->draft->def;
	if (words->count > sizeof(def->success_exit))
		return place_wrong(place, "found %zu exit codes, expected at most %zu",
				   words->count, sizeof(def->success_exit));
	for (size_t i = 0; i < words->count; i++) {
		int64_t code;
		if (!value_number(place, words->word[i], 1, 255, &code))
			return false;
		def->success_exit[def->success_exit_count++] = (uint8_t)code;
	}
	return true;
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

static bool set_environment(struct service_reader *reader, const struct place *place,
			    const struct words *words, void *field)
{
	struct words *environment = field;
	for (size_t i = 0; i < words->count; i++) {
		const char *word = words->word[i];
		size_t name = strspn(word, ALPHANUMERIC "_");
		if (name == 0 || word[name] != '=' || (word[0] >= '0' && word[0] <= '9'))
			return place_expected(place, word, "NAME=VALUE");
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
	{"description", TEXT, false, set_text, DEF(description)},
	{"kind", ONE, false, set_kind, DEF(kind)},
	{"start", SOME, false, set_command, DEF(start)},
	{"stop", SOME, false, set_command, DEF(stop)},
	{"reload", SOME, false, set_command, DEF(reload)},
	{"requires", LIST, false, set_dependencies, DRAFT(requires)},
	{"wants", LIST, false, set_dependencies, DRAFT(wants)},
	{"after", LIST, false, set_dependencies, DRAFT(after)},
	{"when", LIST, true, set_when, 0},
	{"listen", LIST, true, set_listen, 0},
	{"listen-from", LIST, false, set_listen_from, 0},
	{"ready", SOME, false, set_ready, 0},
	{"start-timeout", ONE, false, set_duration, DEF(start_timeout_ms)},
	{"stop-timeout", ONE, false, set_duration, DEF(stop_timeout_ms)},
	{"stop-signal", ONE, false, set_signal, DEF(stop_signal)},
	{"restart", ONE, false, set_restart, DEF(restart)},
	{"restart-delay", ONE, false, set_delay, DEF(restart_delay_ms)},
	{"restart-delay-max", ONE, false, set_delay, DEF(restart_delay_max_ms)},
	{"healthy-after", ONE, false, set_delay, DEF(healthy_after_ms)},
	{"success-exit", LIST, false, set_success_exit, 0},
	{"first", ONE, false, set_bool, DEF(first)},
	{"channel", ONE, false, set_bool, DEF(channel)},
	{"template", LIST, true, set_template, 0},
	{"user", ONE, false, set_user, 0},
	{"group", ONE, false, set_group, DEF(gid)},
	{"groups", LIST, false, set_groups, 0},
	{"umask", ONE, false, set_octal, DEF(umask)},
	{"nice", ONE, false, set_nice, DEF(nice)},
	{"oom-score", ONE, false, set_oom_score, DEF(oom_score_adj)},
	{"limit-*", SOME, true, set_limit, 0},
	{"directory", ONE, false, set_path, DEF(directory)},
	{"environment", LIST, true, set_environment, DEF(environment)},
	{"runtime-directory", LIST, false, set_runtime_directory, DEF(runtime_directories)},
	{"capabilities", LIST, false, set_capabilities, 0},
	{"seccomp", LIST, false, set_seccomp, DEF(seccomp)},
	{"no-new-privileges", ONE, false, set_bool, DEF(no_new_privileges)},
	{"private-tmp", ONE, false, set_bool, DEF(private_tmp)},
	{"private-network", ONE, false, set_bool, DEF(private_network)},
	{"root", ONE, false, set_root, DEF(root)},
	{"hidden", LIST, false, set_paths, DEF(hidden)},
	{"memory-max", ONE, false, set_size, DEF(memory_max_bytes)},
	{"pids-max", ONE, false, set_pids, DEF(pids_max)},
	{"scheduling", SOME, false, key_scheduling, DEF(share)},
	{"cpu-affinity", SOME, false, key_cpu_affinity, DEF(share.cpu_affinity)},
	{"io-class", SOME, false, key_io_class, DEF(share.io_priority)},
	{"memory-high", ONE, false, set_size, DEF(share.memory_high_bytes)},
	{"cpu-weight", ONE, false, key_weight, DEF(share.cpu_weight)},
	{"cpu-max", BARE, false, key_cpu_max, DEF(share)},
	{"io-weight", ONE, false, key_weight, DEF(share.io_weight)},
	{"instances", ONE, false, set_instances, DRAFT(instances)},
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
		return text && key->set(reader, place, &words, field);
	}
	if (key->shape == BARE)
		return words_split(loader->arena, place, value, &words) &&
		       key->set(reader, place, &words, field);
	if (!words_split(loader->scratch, place, value, &raw) ||
	    !expand_words(loader->arena, loader->scratch, place, &reader->scope, &raw, &words))
		return false;
	if (key->shape == ONE && words.count != 1)
		return place_wrong(place, "found %zu words, expected one", words.count);
	if (key->shape == SOME && words.count == 0)
		return place_expected(place, value, "something that is not empty once expanded");
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
		if (reader->line[i] && !keys[i].repeats)
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
