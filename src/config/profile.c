/* A profile: what a machine of a role is to run. */
#include <string.h>

#include "src/config/load.h"

#define WATCHDOG_MIN_MS 5000
#define WATCHDOG_MAX_MS 600000

struct profile_reader {
	struct loader *loader;
	struct profile *profile;
	const struct expand_scope *scope;
	bool role_seen, description_seen;
	size_t modules_capacity, services_capacity, request_capacity, sysctl_capacity;
};

static bool add_words(struct profile_reader *reader, const struct place *place,
		      const struct words *from, struct words *to, size_t *capacity)
{
	for (size_t i = 0; i < from->count; i++) {
		if (!words_add(reader->loader->arena, to, capacity, from->word[i]))
			return place_wrong(place, "out of memory");
	}
	return true;
}

static bool add_modules(struct profile_reader *reader, const struct place *place,
			const struct words *words)
{
	for (size_t i = 0; i < words->count; i++) {
		const char *word = words->word[i];
		if (strspn(word,
			   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
			    strlen(word) ||
		    !*word)
			return place_expected(place, word, "the name of a kernel module");
	}
	return add_words(reader, place, words, &reader->profile->boot_modules,
			 &reader->modules_capacity);
}

static bool add_services(struct profile_reader *reader, const struct place *place,
			 const struct words *words, struct words *to, size_t *capacity)
{
	for (size_t i = 0; i < words->count; i++) {
		if (!service_name_good(words->word[i]))
			return place_expected(place, words->word[i],
					      "the name of a service: NAME or NAME@INSTANCE");
	}
	reader->profile->services_line = place->line;
	return add_words(reader, place, words, to, capacity);
}

/* NAME=VALUE, NAME as sysctl(8) writes it: parts with dots, or with slashes where a part has a dot.
 */
static bool add_sysctl(struct profile_reader *reader, const struct place *place, char *word)
{
	struct profile *profile = reader->profile;
	char *equals = strchr(word, '=');
	size_t length =
		strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./");
	if (!equals || equals == word || length != (size_t)(equals - word) || strstr(word, "..") ||
	    word[0] == '/' || word[0] == '.' || !equals[1])
		return place_expected(place, word, "NAME=VALUE such as fs.leases-enable=0");
	*equals = 0;
	for (size_t i = 0; i < profile->sysctl_count; i++) {
		if (strcmp(profile->sysctl[i].name, word) == 0)
			return place_wrong(place, "found %s a second time, expected once", word);
	}
	if (profile->sysctl_count == reader->sysctl_capacity) {
		size_t more = reader->sysctl_capacity ? reader->sysctl_capacity * 2 : 8;
		struct sysctl_def *grown =
			arena_alloc(reader->loader->arena, more * sizeof(*grown));
		if (!grown)
			return place_wrong(place, "out of memory");
		if (profile->sysctl_count > 0)
			memcpy(grown, profile->sysctl, profile->sysctl_count * sizeof(*grown));
		profile->sysctl = grown;
		reader->sysctl_capacity = more;
	}
	profile->sysctl[profile->sysctl_count++] = (struct sysctl_def){word, equals + 1};
	return true;
}

static bool once(const struct place *place, bool *seen)
{
	if (*seen)
		return place_wrong(place, "found a second time, expected once");
	*seen = true;
	return true;
}

static bool set_role(struct profile_reader *reader, const struct place *place,
		     const struct words *words)
{
	char role[NAME_BYTES];
	if (!once(place, &reader->role_seen))
		return false;
	if (words->count != 1)
		return place_wrong(place, "found %zu words, expected one", words->count);
	if (!value_name(place, words->word[0], role))
		return false;
	reader->profile->role = words->word[0];
	return true;
}

/* "30s" or "/dev/watchdog1 30s": the hardware counts in seconds. */
static bool set_watchdog(struct profile_reader *reader, const struct place *place,
			 const struct words *words)
{
	static const char device[] = "/dev/watchdog0";
	struct watchdog_def def = {.device = device};

	if (words->count < 1 || words->count > 2)
		return place_wrong(place, "found %zu words, expected [DEVICE] DURATION",
				   words->count);
	if (reader->profile->watchdog.device)
		return place_wrong(place, "found a second time, expected once");
	const char *time = words->word[words->count - 1];
	if (words->count == 2) {
		if (strncmp(words->word[0], "/dev/", 5) != 0 || !value_path(place, words->word[0]))
			return place_expected(place, words->word[0], "a device below /dev");
		def.device = words->word[0];
	}
	if (!value_duration(place, time, &def.timeout_ms))
		return false;
	if (def.timeout_ms < WATCHDOG_MIN_MS || def.timeout_ms > WATCHDOG_MAX_MS ||
	    def.timeout_ms % 1000 != 0)
		return place_expected(place, time, "whole seconds, from 5s to 10m");
	reader->profile->watchdog = def;
	return true;
}

static bool set_shutdown_timeout(struct profile_reader *reader, const struct place *place,
				 const struct words *words)
{
	uint32_t *ms = &reader->profile->shutdown_timeout_ms;

	if (*ms)
		return place_wrong(place, "found a second time, expected once");
	if (words->count != 1)
		return place_wrong(place, "found %zu words, expected one", words->count);
	if (!value_duration(place, words->word[0], ms))
		return false;
	/* Never is no deadline. */
	return *ms > 0 || place_expected(place, words->word[0], "a duration such as 60s");
}

static const char *const keys[] = {"description", "role",     "boot-modules", "sysctl",
				   "watchdog",	  "services", "on-request",   "shutdown-timeout"};

static const char *key_name(size_t index, const void *context)
{
	(void)context;
	return index < sizeof(keys) / sizeof(keys[0]) ? keys[index] : NULL;
}

static bool set_key(struct profile_reader *reader, const struct place *place, const char *value,
		    bool boot_only)
{
	struct loader *loader = reader->loader;
	struct words raw, words;
	bool modules = strcmp(place->key, "boot-modules") == 0,
	     sysctl = strcmp(place->key, "sysctl") == 0,
	     services = strcmp(place->key, "services") == 0,
	     on_request = strcmp(place->key, "on-request") == 0;

	if (strcmp(place->key, "description") == 0)
		return once(place, &reader->description_seen);
	if (boot_only && (sysctl || services || on_request))
		return true;
	if (!words_split(loader->arena, place, value, &raw))
		return false;
	/* Modules are loaded before the cluster file can be read: no variables. */
	if (modules)
		return add_modules(reader, place, &raw);
	if (strcmp(place->key, "watchdog") == 0)
		return set_watchdog(reader, place, &raw);
	if (strcmp(place->key, "shutdown-timeout") == 0)
		return set_shutdown_timeout(reader, place, &raw);
	if (strcmp(place->key, "role") == 0)
		return set_role(reader, place, &raw);
	if ((sysctl || services || on_request) &&
	    !expand_words(loader->arena, loader->scratch, place, reader->scope, &raw, &words))
		return false;
	if (services)
		return add_services(reader, place, &words, &reader->profile->services,
				    &reader->services_capacity);
	if (on_request)
		return add_services(reader, place, &words, &reader->profile->on_request,
				    &reader->request_capacity);
	for (size_t i = 0; sysctl && i < words.count; i++) {
		if (!add_sysctl(reader, place, words.word[i]))
			return false;
	}
	if (sysctl)
		return true;
	const char *hint = nearest(place->key, key_name, NULL);
	return place_wrong(place, "unknown key%s%s%s", hint ? ", did you mean \"" : "",
			   hint ? hint : "", hint ? "\"?" : "");
}

bool profile_read(struct loader *loader, struct source_file *file, bool boot_only,
		  struct profile *profile)
{
	size_t before = loader->report->seen;
	struct profile_reader reader = {
		.loader = loader, .profile = profile, .scope = &loader->scope};
	struct lines lines;
	struct line line;

	*profile = (struct profile){0};
	if (!source_file_load(loader, file))
		return false;
	profile->file = file->shown;
	if (!lines_init(&lines, loader->scratch, loader->report, file->shown, file->text,
			file->size))
		return false;
	while (lines_next(&lines, &line)) {
		const struct place place = {loader->report, file->shown, line.number, line.key};
		if (line.kind == LINE_SECTION)
			place_wrong(&place, "found a section, expected KEY = VALUE lines only");
		else
			set_key(&reader, &place, line.value, boot_only);
	}
	return loader->report->seen == before;
}
