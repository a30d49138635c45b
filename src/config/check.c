#include "src/config/check.h"

#include <stdio.h>
#include <string.h>

#include "src/config/load.h"

struct check {
	const struct config_source *source;
	struct config_report *report;
	struct check_summary *summary;
	struct arena arena;
	struct loader loader;
	const struct config *base; /* cluster and node files alone */
	bool used[SERVICE_FILES_MAX];
};

static void mark_used(struct check *check, const struct config *config)
{
	const struct source_files *files = &check->loader.services;
	for (size_t i = 0; i < config->service_count; i++) {
		for (size_t j = 0; j < files->count; j++) {
			if (strcmp(files->file[j].shown, config->service[i].file) == 0)
				check->used[j] = true;
		}
	}
}

/* Loads the profile as `node` would; *counted: this profile's services are in the summary. */
static void check_node(struct check *check, const char *profile, const char *node, bool *counted)
{
	struct config_source source = *check->source;
	source.profile = profile;
	source.node = node;
	struct config *config = config_load(&source, check->report);
	if (!config)
		return;
	mark_used(check, config);
	if (!*counted) {
		check->summary->profiles++;
		check->summary->services += config->service_count;
	}
	*counted = true;
	config_free(config);
}

static void check_profile(struct check *check, struct source_file *file)
{
	const struct cluster *cluster = check->base->cluster;
	const struct config_source *source = check->source;
	struct profile profile;
	bool counted = false, any = false;

	if (!profile_read(&check->loader, file, true, &profile))
		return;
	if (!cluster && profile.role && !source->profile) {
		check->summary->skipped++;
		return;
	}
	if (!cluster || source->node) {
		const struct cluster_node *self = check->base->self;
		/* A node need not fit every profile, only the one that was asked for. */
		if (!source->profile && self && profile.role &&
		    strcmp(self->role, profile.role) != 0)
			return;
		check_node(check, file->name, source->node, &counted);
		return;
	}
	for (size_t i = 0; i < cluster->node_count; i++) {
		if (profile.role && strcmp(cluster->node[i].role, profile.role) != 0)
			continue;
		check_node(check, file->name, cluster->node[i].name, &counted);
		any = true;
	}
	if (!any && source->profile)
		config_report_add(check->report, profile.file, 0,
				  "role: found %s, but no node of cluster.conf has it",
				  profile.role);
}

/* A service file of the directory that no profile uses: checked as far as it can be alone. */
static void check_unused(struct check *check)
{
	struct source_files *files = &check->loader.services;
	for (size_t i = 0; i < files->count; i++) {
		struct source_file *file = &files->file[i];
		bool template = strchr(file->name, '@') != NULL;
		if (check->used[i] || strncmp(file->shown, "(built-in)", 10) == 0 || template)
			continue;
		const struct place place = {check->report, file->shown, 0, "file"};
		if (!service_name_good(file->name)) {
			place_expected(&place, file->name, "the name of a service before .service");
			continue;
		}
		struct service_draft *draft = arena_alloc(&check->arena, sizeof(*draft));
		if (!draft)
			return;
		bool pool = service_pool_size(&check->loader, file) > 0;
		service_read(&check->loader, file, file->name, pool ? "1" : NULL, draft);
	}
}

static void check_all(struct check *check)
{
	struct loader *loader = &check->loader;
	const struct config_source *source = check->source;
	const struct cluster *cluster = check->base->cluster;
	struct source_files profiles;

	if (cluster) {
		check->summary->nodes = cluster->node_count;
		check->summary->shares = cluster->share_count;
		loader->scope.cluster = cluster;
		loader->scope.self = check->base->self ? check->base->self : &cluster->node[0];
		loader->scope.node = loader->scope.self->name;
	}
	if (!source_files_find(loader, "services", ".service", &loader->services) ||
	    !source_files_find(loader, "profiles", ".profile", &profiles))
		return;
	accounts_read(&loader->accounts, &check->arena,
		      source->accounts ? source->accounts : ACCOUNTS_DEFAULT);

	bool found = false;
	for (size_t i = 0; i < profiles.count; i++) {
		if (source->profile && strcmp(source->profile, profiles.file[i].name) != 0)
			continue;
		check_profile(check, &profiles.file[i]);
		found = true;
	}
	if (!found && source->profile)
		config_report_add(
			check->report, loader->directory, 0,
			"found no profile \"%s\", neither as profiles/%s.profile nor built in",
			source->profile, source->profile);
	if (!source->profile)
		check_unused(check);
}

void config_check(const struct config_source *source, struct config_report *report,
		  struct check_summary *summary)
{
	struct check check = {.source = source, .report = report, .summary = summary};
	struct config_source base_source = *source;
	*summary = (struct check_summary){0};
	base_source.profile = NULL;

	struct config *base = config_load(&base_source, report);
	if (base) {
		check.base = base;
		check.loader = (struct loader){.arena = &check.arena,
					       .scratch = &check.arena,
					       .report = report,
					       .source = source,
					       .directory = source->directory ? source->directory
									      : DIRECTORY_DEFAULT};
		check_all(&check);
	}
	arena_free(&check.arena);
	config_free(base);
}
