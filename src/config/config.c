/* Joins everything: cluster, profile, the services it names and all that they need, in an order
 * that can be started. */
#include "src/config/config.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/config/file.h"
#include "src/config/load.h"

/* The drafts of the services loaded so far. */
struct assembly {
	struct loader *loader;
	struct service_draft *draft[SERVICES_MAX];
	size_t count;
};

static int find_draft(const struct assembly *assembly, const char *name)
{
	for (size_t i = 0; i < assembly->count; i++) {
		if (strcmp(assembly->draft[i]->def.name, name) == 0)
			return (int)i;
	}
	return -1;
}

static struct service_draft *add_draft(struct assembly *assembly, const struct place *place)
{
	if (assembly->count == SERVICES_MAX) {
		place_wrong(place, "found more than %d services", SERVICES_MAX);
		return NULL;
	}
	struct service_draft *draft = arena_alloc(assembly->loader->scratch, sizeof(*draft));
	if (!draft) {
		place_wrong(place, "out of memory");
		return NULL;
	}
	assembly->draft[assembly->count++] = draft;
	return draft;
}

static bool indices(struct assembly *assembly, const struct place *place, uint16_t **out,
		    size_t count)
{
	*out = arena_alloc(assembly->loader->arena, (count ? count : 1) * sizeof(**out));
	return *out || place_wrong(place, "out of memory");
}

/* The file says `instances = N`: reads its members NAME:1 to NAME:N and fills in the pool, which is
 * draft `at`. */
static int make_pool(struct assembly *assembly, const struct place *place, struct source_file *file,
		     const char *name, const char *instance, int at, size_t count)
{
	struct loader *loader = assembly->loader;
	struct service_def *pool = &assembly->draft[at]->def;
	if (!indices(assembly, place, &pool->wants, count))
		return -1;
	for (size_t i = 1; i <= count; i++) {
		struct service_draft *member = add_draft(assembly, place);
		const char *number = arena_printf(loader->arena, "%zu", i);
		const char *member_name = arena_printf(loader->scratch, "%s:%zu", name, i);
		if (!member || !number || !member_name)
			return -1;
		service_read(loader, file, member_name, instance ? instance : number, member);
		member->def.pool = at;
		pool->wants[pool->wants_count++] = (uint16_t)(assembly->count - 1);
		pool->description = member->def.description;
	}
	snprintf(pool->name, sizeof(pool->name), "%s", name);
	pool->kind = SERVICE_POOL;
	pool->file = file->shown;
	pool->instance = instance ? instance : "";
	pool->pool = -1;
	return at;
}

static const char *file_name(size_t index, const void *context)
{
	const struct source_files *files = context;
	return index < files->count ? files->file[index].name : NULL;
}

/* Whether a file describes this service; *file NULL and reported otherwise. */
static struct source_file *file_of(struct assembly *assembly, const struct place *place,
				   const char *name)
{
	const struct source_files *files = &assembly->loader->services;
	const char *at = strchr(name, '@');
	size_t length = at ? (size_t)(at - name) + 1 : strlen(name);
	struct source_file *file = source_file_by_name(files, name, length);
	if (file)
		return file;

	char base[SERVICE_NAME_BYTES];
	snprintf(base, sizeof(base), "%.*s", (int)length, name);
	const char *hint = nearest(base, file_name, files);
	place_wrong(place, "found \"%s\", expected a service: there is no %s.service%s%s%s", name,
		    base, hint ? ", did you mean \"" : "", hint ? hint : "", hint ? "\"?" : "");
	return NULL;
}

/* 0: no pool. */
static size_t pool_members(struct loader *loader, struct source_file *file, const char *name)
{
	const struct config_source *source = loader->source;
	size_t members = service_pool_size(loader, file);
	for (size_t i = 0; members > 0 && i < source->pool_size_count; i++) {
		if (strcmp(source->pool_size[i].name, name) == 0)
			return source->pool_size[i].members;
	}
	return members;
}

/* The index of the service of that name, read now if it was not yet; -1 when it cannot be:
 * reported. */
static int need_service(struct assembly *assembly, const struct place *place, const char *name)
{
	struct loader *loader = assembly->loader;
	int index = find_draft(assembly, name);
	if (index >= 0)
		return index;
	struct source_file *file = file_of(assembly, place, name);
	if (!file)
		return -1;

	const char *at = strchr(name, '@');
	const char *instance = NULL;
	if (at) {
		instance = arena_strndup(loader->arena, at + 1, strlen(at + 1));
		if (!instance) {
			place_wrong(place, "out of memory");
			return -1;
		}
	}
	struct service_draft *draft = add_draft(assembly, place);
	if (!draft)
		return -1;
	index = (int)assembly->count - 1;
	/* "NAME:64" of a pool must fit as well. */
	if (strlen(name) + sizeof(":64") > SERVICE_NAME_BYTES) {
		snprintf(draft->def.name, sizeof(draft->def.name), "%s", name);
		draft->failed = true;
		place_expected(place, name, "a name of at most %zu bytes",
			       SERVICE_NAME_BYTES - sizeof(":64"));
		return index;
	}
	size_t members = pool_members(loader, file, name);
	if (members > 0)
		return make_pool(assembly, place, file, name, instance, index, members);
	service_read(loader, file, name, instance, draft);
	return index;
}

static bool contains(const uint16_t *list, size_t count, uint16_t index)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i] == index)
			return true;
	}
	return false;
}

/* Names to indices. `load`: read what is not there yet; otherwise what is not loaded is left out.
 */
static bool resolve(struct assembly *assembly, struct service_draft *draft,
		    const struct dependency_names *names, const char *key, bool load,
		    uint16_t **list, size_t *list_count)
{
	const struct place place = {assembly->loader->report, draft->def.file, names->line, key};
	bool good = true;
	if (names->words.count == 0)
		return true;
	if (!indices(assembly, &place, list, names->words.count))
		return false;
	for (size_t i = 0; i < names->words.count; i++) {
		const char *name = names->words.word[i];
		int index =
			load ? need_service(assembly, &place, name) : find_draft(assembly, name);
		if (index < 0 && (load || !file_of(assembly, &place, name)))
			good = false;
		else if (index >= 0 && !contains(*list, *list_count, (uint16_t)index))
			(*list)[(*list_count)++] = (uint16_t)index;
	}
	return good;
}

/* One index more at the end of a list. */
static bool append(struct assembly *assembly, const char *file, const char *key, uint16_t index,
		   uint16_t **list, size_t *count)
{
	const struct place place = {assembly->loader->report, file, 0, key};
	uint16_t *longer;
	if (!indices(assembly, &place, &longer, *count + 1))
		return false;
	if (*count > 0)
		memcpy(longer, *list, *count * sizeof(*longer));
	longer[(*count)++] = index;
	*list = longer;
	return true;
}

/* Who is excluded excludes. A pool stands for its members. */
static bool conflict_both_ways(struct assembly *assembly, uint16_t index)
{
	struct service_def *def = &assembly->draft[index]->def;
	/* The list grows while it is walked. */
	for (size_t i = 0; i < def->conflicts_count; i++) {
		struct service_def *other = &assembly->draft[def->conflicts[i]]->def;
		if (def->conflicts[i] == index) {
			config_report_add(assembly->loader->report, def->file,
					  assembly->draft[index]->conflicts.line,
					  "conflicts: found the service itself");
			return false;
		}
		for (size_t k = 0; other->kind == SERVICE_POOL && k < other->wants_count; k++) {
			if (!contains(def->conflicts, def->conflicts_count, other->wants[k]) &&
			    !append(assembly, def->file, "conflicts", other->wants[k],
				    &def->conflicts, &def->conflicts_count))
				return false;
		}
		if (!contains(other->conflicts, other->conflicts_count, index) &&
		    !append(assembly, other->file, "conflicts", index, &other->conflicts,
			    &other->conflicts_count))
			return false;
	}
	return true;
}

/* `first = yes`: everybody else is ordered after it, but for what it needs itself. */
static bool put_first(struct assembly *assembly, uint16_t first)
{
	for (size_t i = 0; i < assembly->count; i++) {
		struct service_def *def = &assembly->draft[i]->def;
		const struct service_def *head = &assembly->draft[first]->def;
		if (i == first || contains(head->requires, head->requires_count, (uint16_t)i) ||
		    contains(head->wants, head->wants_count, (uint16_t)i) ||
		    contains(head->after, head->after_count, (uint16_t)i) ||
		    contains(def->after, def->after_count, first))
			continue;
		if (!append(assembly, def->file, "first", first, &def->after, &def->after_count))
			return false;
	}
	return true;
}

static bool mark(bool *marked, const uint16_t *list, size_t count)
{
	bool new = false;
	for (size_t i = 0; i < count; i++) {
		new |= !marked[list[i]];
		marked[list[i]] = true;
	}
	return new;
}

/* What neither the profile's services nor anything that they need names is not started unasked. */
static void mark_on_request(struct assembly *assembly, size_t asked)
{
	bool needed[SERVICES_MAX] = {false}, grew = true;
	for (size_t i = 0; i < asked; i++)
		needed[i] = true;
	while (grew) {
		grew = false;
		for (size_t i = 0; i < assembly->count; i++) {
			const struct service_def *def = &assembly->draft[i]->def;
			if (!needed[i])
				continue;
			grew |= mark(needed, def->requires, def->requires_count);
			grew |= mark(needed, def->wants, def->wants_count);
		}
	}
	for (size_t i = 0; i < assembly->count; i++)
		assembly->draft[i]->def.on_request = !needed[i];
}

/* Everything that the profile names, and what that needs, to the end. */
static bool assemble(struct assembly *assembly, const struct profile *profile)
{
	struct loader *loader = assembly->loader;
	const struct place place = {loader->report, profile->file, profile->services_line,
				    "services"};
	bool good = true;
	for (size_t i = 0; i < profile->services.count; i++)
		good &= need_service(assembly, &place, profile->services.word[i]) >= 0;
	size_t asked = assembly->count; /* a pool's members included */
	for (size_t i = 0; i < profile->on_request.count; i++)
		good &= need_service(assembly, &place, profile->on_request.word[i]) >= 0;
	/* The list grows while it is walked. */
	for (size_t i = 0; i < assembly->count; i++) {
		struct service_draft *draft = assembly->draft[i];
		struct service_def *def = &draft->def;
		good &= resolve(assembly, draft, &draft->requires, "requires", true, &def->requires,
				&def->requires_count);
		good &= resolve(assembly, draft, &draft->wants, "wants", true, &def->wants,
				&def->wants_count);
		good &= !draft->failed;
	}
	for (size_t i = 0; i < assembly->count; i++) {
		struct service_draft *draft = assembly->draft[i];
		struct service_def *def = &draft->def;
		good &= resolve(assembly, draft, &draft->after, "after", false, &def->after,
				&def->after_count);
		good &= resolve(assembly, draft, &draft->conflicts, "conflicts", false,
				&def->conflicts, &def->conflicts_count);
	}
	if (good)
		mark_on_request(assembly, asked);
	for (size_t i = 0; good && i < assembly->count; i++)
		good = conflict_both_ways(assembly, (uint16_t)i);
	for (size_t i = 0; good && i < assembly->count; i++)
		good = !assembly->draft[i]->def.first || put_first(assembly, (uint16_t)i);
	return good;
}

static void renumber(uint16_t *list, size_t count, const uint16_t *place_of)
{
	for (size_t i = 0; i < count; i++)
		list[i] = place_of[list[i]];
}

/* The service and all that it requires, through pools too; what is required stands before it. */
static void mark_required(const struct config *config, size_t index, bool *marked)
{
	marked[index] = true;
	for (size_t i = index + 1; i-- > 0;) {
		const struct service_def *def = &config->service[i];
		for (size_t k = 0; marked[i] && k < def->requires_count; k++)
			marked[def->requires[k]] = true;
		for (size_t k = 0; marked[i] && def->kind == SERVICE_POOL && k < def->wants_count;
		     k++)
			marked[def->wants[k]] = true;
	}
}

/* Nothing can run that requires, however far down, what excludes it. */
static bool conflicts_possible(struct assembly *assembly, const struct config *config,
			       const uint16_t *order)
{
	bool good = true;
	for (size_t i = 0; i < config->service_count; i++) {
		const struct service_def *def = &config->service[i];
		bool marked[SERVICES_MAX] = {false};
		if (def->conflicts_count == 0)
			continue;
		mark_required(config, i, marked);
		for (size_t k = 0; k < def->conflicts_count; k++) {
			if (!marked[def->conflicts[k]])
				continue;
			config_report_add(assembly->loader->report, def->file,
					  assembly->draft[order[i]]->conflicts.line,
					  "conflicts: found %s, which %s requires, directly or not",
					  config->service[def->conflicts[k]].name, def->name);
			good = false;
		}
	}
	return good;
}

/* The drafts, in order, as the configuration's services. */
static bool finish(struct config *config, struct assembly *assembly)
{
	struct loader *loader = assembly->loader;
	uint16_t order[SERVICES_MAX], place_of[SERVICES_MAX];
	if (!order_drafts(loader, assembly->draft, assembly->count, order))
		return false;
	config->service =
		arena_alloc(&config->arena, (assembly->count + 1) * sizeof(*config->service));
	if (!config->service) {
		config_report_add(loader->report, "services", 0, "out of memory");
		return false;
	}
	config->service_count = assembly->count;
	for (size_t i = 0; i < assembly->count; i++)
		place_of[order[i]] = (uint16_t)i;
	for (size_t i = 0; i < assembly->count; i++) {
		struct service_def *def = &config->service[i];
		*def = assembly->draft[order[i]]->def;
		renumber(def->requires, def->requires_count, place_of);
		renumber(def->wants, def->wants_count, place_of);
		renumber(def->after, def->after_count, place_of);
		renumber(def->conflicts, def->conflicts_count, place_of);
		if (def->pool >= 0)
			def->pool = place_of[def->pool];
	}
	return conflicts_possible(assembly, config, order);
}

static void hash(crypto_generichash_state *state, const char *text)
{
	if (text)
		crypto_generichash_update(state, (const uint8_t *)text, strlen(text) + 1);
	else
		crypto_generichash_update(state, (const uint8_t *)"\0", 2);
}

/* What it says, whatever it looks like. Its memory is zeroed where nothing was said. */
static void digest_cluster(struct config *config)
{
	static struct cluster copy;
	crypto_generichash_state state;
	crypto_generichash_init(&state, NULL, 0, DIGEST_BYTES);
	copy = *config->cluster;
	for (size_t i = 0; i < copy.node_count; i++) {
		hash(&state, copy.node[i].disk);
		hash(&state, copy.node[i].cache);
		copy.node[i].disk = copy.node[i].cache = NULL;
	}
	for (size_t i = 0; i < copy.address_count; i++) {
		hash(&state, copy.address[i].prefer ? copy.address[i].prefer->name : NULL);
		copy.address[i].prefer = NULL;
	}
	for (size_t i = 0; i < copy.share_count; i++) {
		hash(&state, copy.share[i].address ? copy.share[i].address->name : NULL);
		hash(&state, copy.share[i].seed);
		copy.share[i].address = NULL;
		copy.share[i].seed = NULL;
	}
	crypto_generichash_update(&state, (const uint8_t *)&copy, sizeof(copy));
	crypto_generichash_final(&state, config->cluster_digest, DIGEST_BYTES);
}

static bool load_cluster(struct config *config, struct loader *loader)
{
	struct file_text file;
	const char *path = arena_printf(&config->arena, "%s/cluster.conf", loader->directory);
	int error = path ? file_read(loader->scratch, path, &file) : ENOMEM;
	if (error == ENOENT || error == ENOTDIR)
		return true;
	if (error) {
		config_report_add(loader->report, path ? path : "cluster.conf", 0,
				  "cannot be read: %s",
				  error == EINVAL ? "not a regular file" : strerror(error));
		return false;
	}
	source_note(loader, path, file.text, file.size);
	config->cluster = cluster_parse(&config->arena, path, file.text, file.size, loader->report);
	if (config->cluster)
		digest_cluster(config);
	return config->cluster;
}

/* The node's name and key. A program that may not read the key goes without, if it was told the
 * name. */
static bool load_identity(struct config *config, struct loader *loader,
			  const struct config_source *source)
{
	struct file_text file;
	const char *path = arena_printf(&config->arena, "%s/node.conf", loader->directory);
	int error = path ? file_read(loader->scratch, path, &file) : ENOMEM;
	if (error == ENOENT || error == ENOTDIR || (error == EACCES && source->node))
		return true;
	if (error) {
		config_report_add(loader->report, path ? path : "node.conf", 0,
				  "cannot be read: %s",
				  error == EINVAL ? "not a regular file" : strerror(error));
		return false;
	}
	bool good =
		node_identity_parse(&config->identity, path, file.text, file.size, loader->report);
	source_note(loader, path, file.text, file.size);
	sodium_memzero((char *)file.text, file.size);
	if (good && (file.mode & 077)) {
		config_report_add(loader->report, path, 0,
				  "found mode %04o, expected 0600: it holds the node's secret key",
				  (unsigned)(file.mode & 07777));
		good = false;
	}
	config->has_identity = good;
	return good;
}

/* Who this node is, and whether its key is the one that the others know. */
static bool find_self(struct config *config, struct loader *loader,
		      const struct config_source *source)
{
	const char *name = source->node		  ? source->node
			   : config->has_identity ? config->identity.name
						  : NULL;
	uint8_t key[KEY_BYTES];
	if (!name)
		return true;
	config->node = arena_strndup(&config->arena, name, strlen(name));
	loader->scope.node = config->node;
	if (!config->cluster)
		return loader->scope.node;

	config->self = cluster_find_node(config->cluster, name);
	loader->scope.self = config->self;
	if (!config->self) {
		config_report_add(loader->report, loader->directory, 0,
				  "cluster.conf has no [node %s], which this node is by %s", name,
				  source->node ? "--node" : "node.conf");
		return false;
	}
	/* --node names another one than node.conf: then the key there is not this node's. */
	if (config->has_identity && strcmp(config->identity.name, name) != 0) {
		sodium_memzero(&config->identity, sizeof(config->identity));
		config->has_identity = false;
	}
	if (config->has_identity &&
	    (crypto_scalarmult_base(key, config->identity.secret_key) != 0 ||
	     !cluster_has_key(config->self, key))) {
		config_report_add(loader->report, loader->directory, 0,
				  "node.conf's secret-key does not belong to the key of [node %s] "
				  "in cluster.conf",
				  name);
		return false;
	}
	return true;
}

static bool find_profile(struct loader *loader, const struct config_source *source, bool boot_only,
			 struct profile *profile)
{
	struct source_files profiles;
	if (!source_files_find(loader, "profiles", ".profile", &profiles))
		return false;
	struct source_file *file =
		source_file_by_name(&profiles, source->profile, strlen(source->profile));
	if (!file) {
		config_report_add(
			loader->report, loader->directory, 0,
			"found no profile \"%s\", neither as profiles/%s.profile nor built in",
			source->profile, source->profile);
		return false;
	}
	return profile_read(loader, file, boot_only, profile);
}

static bool load_services(struct config *config, struct loader *loader,
			  const struct config_source *source)
{
	struct profile profile;
	config->profile = arena_strndup(&config->arena, source->profile, strlen(source->profile));
	if (config->cluster && !config->self) {
		config_report_add(loader->report, loader->directory, 0,
				  "there is a cluster.conf, but this node has no name: no "
				  "node.conf, no --node=NAME");
		return false;
	}
	if (!find_profile(loader, source, false, &profile))
		return false;
	config->boot_modules = profile.boot_modules;
	config->watchdog = profile.watchdog;
	config->shutdown_timeout_ms = profile.shutdown_timeout_ms;
	config->sysctl = profile.sysctl;
	config->sysctl_count = profile.sysctl_count;
	if (profile.role && config->self && strcmp(profile.role, config->self->role) != 0) {
		config_report_add(loader->report, profile.file, 0,
				  "role: found %s, but [node %s] of cluster.conf has role %s",
				  profile.role, config->self->name, config->self->role);
		return false;
	}
	if (!source_files_find(loader, "services", ".service", &loader->services))
		return false;
	accounts_read(&loader->accounts, loader->scratch,
		      source->accounts ? source->accounts : ACCOUNTS_DEFAULT);

	struct assembly *assembly = arena_alloc(loader->scratch, sizeof(*assembly));
	if (!assembly) {
		config_report_add(loader->report, loader->directory, 0, "out of memory");
		return false;
	}
	assembly->loader = loader;
	/* Cycles are looked for even when something else is wrong, so that one run shows
	 * everything. */
	bool good = assemble(assembly, &profile);
	return finish(config, assembly) && good;
}

static struct config *load(const struct config_source *source, struct config_report *report,
			   bool boot_only)
{
	size_t before = report->seen;
	struct arena scratch = {0};
	struct config *config = calloc(1, sizeof(*config));
	if (!config) {
		config_report_add(report, "configuration", 0, "out of memory");
		return NULL;
	}
	struct loader loader = {.arena = &config->arena,
				.scratch = &scratch,
				.report = report,
				.source = source,
				.directory =
					source->directory ? source->directory : DIRECTORY_DEFAULT};
	crypto_generichash_state texts;
	bool good;
	crypto_generichash_init(&texts, NULL, 0, DIGEST_BYTES);
	loader.texts = &texts;
	if (boot_only) {
		struct profile profile;
		good = find_profile(&loader, source, true, &profile);
		config->profile =
			arena_strndup(&config->arena, source->profile, strlen(source->profile));
		if (good) {
			config->boot_modules = profile.boot_modules;
			config->watchdog = profile.watchdog;
		}
	} else {
		good = load_cluster(config, &loader);
		good &= load_identity(config, &loader, source);
		loader.scope.cluster = config->cluster;
		good = good && find_self(config, &loader, source);
		if (good && source->profile)
			good = load_services(config, &loader, source);
	}
	crypto_generichash_final(&texts, config->sources, DIGEST_BYTES);
	arena_free(&scratch);
	if (!good || report->seen != before) {
		config_free(config);
		return NULL;
	}
	return config;
}

struct config *config_load(const struct config_source *source, struct config_report *report)
{
	return load(source, report, false);
}

struct config *config_load_boot(const struct config_source *source, struct config_report *report)
{
	return load(source, report, true);
}

struct config *config_empty(const char *profile)
{
	struct config *config = calloc(1, sizeof(*config));
	if (config)
		config->profile = profile;
	return config;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	sodium_memzero(&config->identity, sizeof(config->identity));
	arena_free(&config->arena);
	free(config);
}

int config_find(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->service_count; i++) {
		if (strcmp(config->service[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}
