/* Setters of the keys that say how a service lives: its commands, readiness, restarts, checks. The
 * table is in service_keys.c. */
#include <stdlib.h>
#include <string.h>

#include "src/config/service_keys.h"

bool key_restart(struct service_reader *reader, const struct place *place,
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

static bool read_command(const struct place *place, const struct words *words,
			 struct command *command)
{
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

bool key_command(struct service_reader *reader, const struct place *place,
		 const struct words *words, void *field)
{
	(void)reader;
	return read_command(place, words, field);
}

/* The words after the first, as a command. */
static bool rest_is_command(const struct place *place, const struct words *words,
			    struct command *command)
{
	const struct words rest = {words->word + 1, words->count - 1};
	return rest.count > 0 ? read_command(place, &rest, command)
			      : place_wrong(place, "found no program after command, expected one");
}

/* The worker `check` of this program with these arguments, all of which are checked already. */
static bool make_check(struct service_reader *reader, const struct place *place, const char *option,
		       const struct words *words, struct command *command)
{
	size_t capacity = 0;
	struct command made = {.builtin = true};
	bool good = words_add(reader->loader->arena, &made.argv, &capacity, (char *)"check");
	if (option)
		good = good && words_add(reader->loader->arena, &made.argv, &capacity,
					 (char *)(uintptr_t)option);
	for (size_t i = 0; i < words->count; i++)
		good = good &&
		       words_add(reader->loader->arena, &made.argv, &capacity, words->word[i]);
	if (!good)
		return place_wrong(place, "out of memory");
	*command = made;
	return true;
}

static bool join(struct service_reader *reader, const struct place *place,
		 const struct words *words, const char **text)
{
	char *joined = "";
	for (size_t i = 0; joined && i < words->count; i++)
		joined = arena_printf(reader->loader->arena, "%s%s%s", joined, i ? " " : "",
				      words->word[i]);
	*text = joined;
	return joined || place_wrong(place, "out of memory");
}

static bool is_target(struct service_reader *reader, const struct place *place, const char *kind,
		      const char *address)
{
	struct listen_def target;
	return value_socket(reader->loader->arena, place, kind, address, &target);
}

bool key_ready(struct service_reader *reader, const struct place *place, const struct words *words,
	       void *field)
{
	static const struct {
		const char *name;
		enum ready_mode mode;
		size_t words; /* 0: any number */
	} modes[] = {{"now", READY_NOW, 1},	      {"exit", READY_EXIT, 1},
		     {"notify", READY_NOTIFY, 1},     {"fd", READY_FD, 2},
		     {"pid-file", READY_PID_FILE, 2}, {"tcp", READY_PROBE, 2},
		     {"unix", READY_PROBE, 2},	      {"command", READY_PROBE, 0}};
	struct service_def *def = &reader->draft->def;
	const char *mode = words->word[0];
	size_t i = 0, count = sizeof(modes) / sizeof(modes[0]);
	int64_t number;

	(void)field;
	while (i < count && strcmp(modes[i].name, mode) != 0)
		i++;
	if (i == count || (modes[i].words && modes[i].words != words->count))
		return place_expected(place, mode,
				      "now, exit, notify, fd NUMBER, pid-file PATH, "
				      "tcp ADDRESS:PORT, unix PATH or command /PATH ARGUMENT…");
	def->ready = modes[i].mode;
	if (!join(reader, place, words, &def->ready_text))
		return false;
	switch (def->ready) {
	case READY_FD:
		if (!value_number(place, words->word[1], 3, READY_FD_MAX, &number))
			return false;
		def->ready_fd = (int)number;
		return true;
	case READY_PID_FILE:
		def->ready_path = words->word[1];
		return value_local_path(place, words->word[1]);
	case READY_PROBE:
		if (strcmp(mode, "command") == 0)
			return rest_is_command(place, words, &def->ready_probe);
		return is_target(reader, place, mode, words->word[1]) &&
		       make_check(reader, place, "--until-ready", words, &def->ready_probe);
	default:
		return true;
	}
}

/* Neither a second line of a request, nor a word too many in one. */
static bool goes_into_a_header(const char *text)
{
	const char *c = text;

	while (*c > ' ' && *c < 127)
		c++;
	return c > text && *c == 0;
}

/*
 * tcp ADDRESS:PORT | unix PATH | http ADDRESS:PORT /PATH [HOST] | fcgi ADDRESS:PORT |
 * fcgi-unix PATH | command /PATH ARGUMENT…
 */
bool key_check(struct service_reader *reader, const struct place *place, const struct words *words,
	       void *field)
{
	static const struct {
		const char *name, *socket;
		size_t least, most;
	} kinds[] = {{"tcp", "tcp", 2, 2},
		     {"unix", "unix", 2, 2},
		     {"http", "tcp", 3, 4},
		     {"fcgi", "tcp", 2, 2},
		     {"fcgi-unix", "unix", 2, 2}};
	struct service_def *def = &reader->draft->def;

	(void)field;
	if (!join(reader, place, words, &def->check_text))
		return false;
	if (strcmp(words->word[0], "command") == 0)
		return rest_is_command(place, words, &def->check);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, words->word[0]) != 0)
			continue;
		if (words->count < kinds[i].least || words->count > kinds[i].most)
			break;
		if (words->count > 2 &&
		    (words->word[2][0] != '/' || !goes_into_a_header(words->word[2])))
			return place_expected(
				place, words->word[2],
				"a path to ask for, such as /, in plain ASCII without blanks");
		if (words->count > 3 && !goes_into_a_header(words->word[3]))
			return place_expected(place, words->word[3], "the name of a host");
		return is_target(reader, place, kinds[i].socket, words->word[1]) &&
		       make_check(reader, place, NULL, words, &def->check);
	}
	return place_expected(place, words->word[0],
			      "tcp ADDRESS:PORT, unix PATH, http ADDRESS:PORT /PATH [HOST], "
			      "fcgi ADDRESS:PORT, fcgi-unix PATH or command /PATH ARGUMENT…");
}

bool key_check_retries(struct service_reader *reader, const struct place *place,
		       const struct words *words, void *field)
{
	int64_t value;
	(void)reader;
	if (!value_number(place, words->word[0], 1, 100, &value))
		return false;
	*(uint32_t *)field = (uint32_t)value;
	return true;
}

bool key_success_exit(struct service_reader *reader, const struct place *place,
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

/* COUNT DURATION: more than COUNT restarts within DURATION are given up. */
bool key_restart_limit(struct service_reader *reader, const struct place *place,
		       const struct words *words, void *field)
{
	struct service_def *def = &reader->draft->def;
	int64_t count;
	uint32_t window_ms;

	(void)field;
	if (words->count != 2)
		return place_wrong(place, "found %zu words, expected COUNT DURATION: 5 1m",
				   words->count);
	if (!value_number(place, words->word[0], 1, RESTART_LIMIT_MAX, &count) ||
	    !value_duration(place, words->word[1], &window_ms))
		return false;
	if (window_ms == 0)
		return place_expected(place, words->word[1],
				      "a duration such as 500ms, 5s, 2m, 1h");
	def->limit_restarts = (uint32_t)count;
	def->limit_window_ms = window_ms;
	return true;
}

bool key_on_limit(struct service_reader *reader, const struct place *place,
		  const struct words *words, void *field)
{
	struct service_def *def = &reader->draft->def;

	(void)field;
	if (words->count == 1 && strcmp(words->word[0], "give-up") == 0)
		def->on_limit = LIMIT_GIVE_UP;
	else if (words->count == 1 && strcmp(words->word[0], "reboot") == 0)
		def->on_limit = LIMIT_REBOOT;
	else if (words->word[0][0] == '/' || words->word[0][0] == '@')
		def->on_limit = LIMIT_COMMAND;
	else
		return place_expected(place, words->word[0],
				      "give-up, reboot, /PATH ARGUMENT… or @WORKER");
	return def->on_limit != LIMIT_COMMAND || read_command(place, words, &def->limit_command);
}

bool key_when_lost(struct service_reader *reader, const struct place *place,
		   const struct words *words, void *field)
{
	const char *word = words->word[0];

	(void)reader;
	if (strcmp(word, "stop") != 0 && strcmp(word, "keep") != 0)
		return place_expected(place, word, "stop or keep");
	*(bool *)field = word[0] == 'k';
	return true;
}
