#include "src/supervise/reload.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/log.h"
#include "src/node/machine.h"
#include "src/supervise/edges.h"
#include "src/supervise/filters.h"
#include "src/supervise/gossip_link.h"
#include "src/supervise/instance.h"

static struct reload_outcome outcome; /* of the last attempt */

/* What a new configuration makes of the present set. */
struct plan {
	struct config *config;
	size_t count;	       /* its services, then those who have to stop first */
	int old[SERVICES_MAX]; /* present index of each, -1: new */
};

const struct reload_outcome *reload_outcome(void)
{
	return &outcome;
}

const char *reload_change_name(enum reload_change what)
{
	static const char *const name[RELOAD_CHANGES] = {
		[RELOAD_STARTED] = "started",	[RELOAD_RESTARTED] = "restarted",
		[RELOAD_STOPPED] = "stopped",	[RELOAD_UPDATED] = "updated",
		[RELOAD_ADDED] = "added",	[RELOAD_REMOVED] = "removed",
		[RELOAD_RELOADED] = "reloaded", [RELOAD_LATER] = "later",
	};
	return what > 0 && what < RELOAD_CHANGES ? name[what] : "?";
}

static void note(enum reload_change what, const char *name)
{
	if (outcome.count == RELOAD_LINES_MAX)
		return;
	outcome.line[outcome.count].what = what;
	snprintf(outcome.line[outcome.count].name, SERVICE_NAME_BYTES, "%s", name);
	outcome.count++;
}

/* --- may it be? */

static const char *text_of(const char *text)
{
	return text ? text : "nothing";
}

static bool differs(struct config_report *report, const char *what, const char *old,
		    const char *new)
{
	if (strcmp(text_of(old), text_of(new)) == 0)
		return false;
	config_report_add(report, "node", 0,
			  "%s: found %s, and this node runs with %s: that cannot change while it "
			  "runs",
			  what, text_of(new), text_of(old));
	return true;
}

/* Who this node is was told to the kernel, to its siblings and to its storage. */
static void check_identity(const struct config *old, const struct config *new,
			   struct config_report *report)
{
	const struct cluster_node *a = old->self, *b = new->self;

	if (old->service_count == 0 && !old->node)
		return; /* it was nobody: its first configuration was refused */
	differs(report, "name", old->node, new->node);
	if (differs(report, "cluster", old->cluster ? old->cluster->name : NULL,
		    new->cluster ? new->cluster->name : NULL) ||
	    !a || !b)
		return;
	differs(report, "role", a->role, b->role);
	if (a->address.address.s_addr != b->address.address.s_addr ||
	    a->address.length != b->address.length)
		config_report_add(report, "node", 0,
				  "found another address, expected the one that it runs with");
	if (!a->disk && !b->disk)
		return;
	differs(report, "disk", a->disk, b->disk);
	if (a->id != b->id)
		config_report_add(report, "node", 0,
				  "found it as [node] number %u of cluster.conf, and its storage "
				  "runs with %u: that cannot change while it runs",
				  b->id, a->id);
}

static bool has_active_service(const struct supervisor *sv, const char *name)
{
	int index = supervise_find(sv, name);

	return index >= 0 && life_is_active(&sv->service[index].life);
}

static void make_plan(const struct supervisor *sv, struct config *config, struct plan *plan,
		      struct config_report *report)
{
	plan->config = config;
	plan->count = config->service_count;
	for (size_t i = 0; i < plan->count; i++)
		plan->old[i] = supervise_find(sv, config->service[i].name);
	for (size_t i = 0; i < sv->count; i++) {
		if (instance_rests(sv->instance[i]) ||
		    config_find(config, sv->instance[i]->def->name) >= 0)
			continue;
		if (plan->count == SERVICES_MAX) {
			config_report_add(report, "services", 0,
					  "found more than %d, those that have to stop first "
					  "included",
					  SERVICES_MAX);
			return;
		}
		plan->old[plan->count++] = (int)i;
	}
	/* A profile that is being written, most likely. */
	if (config->service_count == 0 && sv->count > 0)
		config_report_add(report, "services", 0,
				  "found none at all, which would stop every service");
	if (has_active_service(sv, "log") && config_find(config, "log") < 0)
		config_report_add(
			report, "services", 0,
			"found no log, which keeps what others write as long as they run");
}

/* The same process does for both. */
static bool same_process(const struct service_def *a, const struct service_def *b)
{
	return memcmp(a->digest, b->digest, DIGEST_BYTES) == 0 && a->kind == b->kind &&
	       a->has_user == b->has_user && a->uid == b->uid && a->gid == b->gid;
}

/* --- what is not used any more */

static void free_retired(struct supervisor *sv)
{
	for (struct config **at = &sv->retired; *at;) {
		struct config *config = *at;
		bool used = false;
		for (size_t i = 0; i < sv->count; i++)
			used |= sv->instance[i]->config == config;
		used |= config->cluster && gossip_view()->cluster == config->cluster;
		if (used) {
			at = &config->older;
			continue;
		}
		*at = config->older;
		config_free(config);
	}
}

static void keep_sockets(struct supervisor *sv, const struct service_def *def)
{
	for (size_t i = 0; def && i < def->listen_count; i++)
		listen_keep(&sv->sockets, &def->listen[i]);
}

static void close_unnamed_sockets(struct supervisor *sv)
{
	listen_begin(&sv->sockets);
	for (size_t i = 0; i < sv->count; i++) {
		keep_sockets(sv, sv->instance[i]->def);
		keep_sockets(sv, sv->instance[i]->next);
	}
	listen_end(&sv->sockets);
}

static void free_unused_filters(struct supervisor *sv)
{
	char error[REASON_BYTES];

	filters_begin();
	for (size_t i = 0; i < sv->count; i++) {
		const struct instance *instance = sv->instance[i];
		filters_keep(instance->seccomp);
		filters_keep(instance->probe.filter);
		if (instance->next && instance->next->seccomp.count > 0)
			filter_get(&instance->next->seccomp, error, sizeof(error));
	}
	filters_end();
}

/* --- the new set */

static struct instance *free_slot(struct supervisor *sv)
{
	for (size_t i = 0; i < SERVICES_MAX; i++)
		if (!sv->slot[i].def)
			return &sv->slot[i];
	return NULL; /* a plan has no more than fit */
}

/* Those who are gone from the configuration, and at rest. */
static void release_gone(struct supervisor *sv, const struct plan *plan)
{
	bool stays[SERVICES_MAX] = {false};

	for (size_t i = 0; i < plan->count; i++)
		if (plan->old[i] >= 0)
			stays[plan->old[i]] = true;
	for (size_t i = 0; i < sv->count; i++) {
		if (stays[i])
			continue;
		note(RELOAD_REMOVED, sv->instance[i]->def->name);
		instance_release(sv->instance[i]);
	}
}

/* Each in its new place; the new ones are not yet wanted. */
static void renumber(struct supervisor *sv, const struct plan *plan)
{
	static struct instance *instance[SERVICES_MAX];
	static struct graph_service service[SERVICES_MAX];

	for (size_t i = 0; i < plan->count; i++) {
		if (plan->old[i] < 0)
			continue;
		instance[i] = sv->instance[plan->old[i]];
		service[i] = sv->service[plan->old[i]];
		service[i].blocker = 0; /* decided anew */
	}
	sv->count = plan->count;
	for (size_t i = 0; i < plan->count; i++) {
		if (plan->old[i] >= 0) {
			sv->instance[i] = instance[i];
			sv->instance[i]->index = (uint16_t)i;
			sv->service[i] = service[i];
			continue;
		}
		sv->instance[i] = free_slot(sv);
		instance_init(sv->instance[i], sv, &plan->config->service[i], (uint16_t)i);
		supervise_add(sv, (uint16_t)i, false);
	}
}

/* It goes on by its new definition, or is restarted for it. */
static void take_or_renew(struct supervisor *sv, uint16_t index)
{
	struct instance *instance = sv->instance[index];
	struct graph_service *service = &sv->service[index];
	const struct service_def *def = &sv->config->service[index];
	const struct service_def *before = instance->next ? instance->next : instance->def;
	bool same = same_process(before, def), was_wanted = service->wanted;

	if (instance->leaving)
		service->wanted = !def->on_request; /* it was to go, and is not any more */
	else if (before->on_request != def->on_request)
		service->wanted = !def->on_request;
	if (same && !instance->leaving && service->wanted != was_wanted)
		note(was_wanted ? RELOAD_STOPPED : RELOAD_STARTED, def->name);
	else if (same && !instance->leaving && memcmp(before->live, def->live, DIGEST_BYTES) == 0)
		outcome.kept++;
	else if (same)
		note(RELOAD_UPDATED, def->name);
	else if (service->wanted && service->life.state != LIFE_IDLE)
		note(RELOAD_RESTARTED, def->name);
	else
		note(RELOAD_UPDATED, def->name);
	instance->leaving = false;
	if (service->wanted != was_wanted)
		instance->reloaded = sv->reloads;
	if (same_process(instance->def, def)) {
		instance_take(instance, def);
		instance->next = NULL;
		/* The definition that it was to be restarted for is taken back. */
		if (instance->only_reload)
			service->renew = instance->only_reload = false;
		return;
	}
	instance->next = def;
	instance->only_reload |= !service->renew;
	service->renew = true;
	instance->reloaded = sv->reloads;
}

static void leave(struct supervisor *sv, uint16_t index)
{
	struct instance *instance = sv->instance[index];

	if (!instance->leaving)
		note(RELOAD_STOPPED, instance->def->name);
	instance->leaving = true;
	instance->next = NULL;
	sv->service[index].wanted = sv->service[index].renew = false;
}

static bool want_new(struct supervisor *sv, const struct plan *plan, const uint16_t *list,
		     size_t count)
{
	bool grew = false;

	for (size_t k = 0; k < count; k++) {
		if (plan->old[list[k]] >= 0 || sv->service[list[k]].wanted)
			continue;
		sv->service[list[k]].wanted = grew = true;
	}
	return grew;
}

/* A new service starts unless it is on request only, or of a pool that an operator has stopped. One
 * on request that runs brings along what is new of what it needs. */
static void want_new_ones(struct supervisor *sv, const struct plan *plan)
{
	const struct config *config = plan->config;
	bool grew = true;

	for (size_t i = 0; i < config->service_count; i++) {
		const struct service_def *def = &config->service[i];
		if (plan->old[i] >= 0)
			continue;
		sv->service[i].wanted = def->pool >= 0 && plan->old[def->pool] >= 0
						? sv->service[def->pool].wanted
						: !def->on_request;
	}
	while (grew) {
		grew = false;
		for (size_t i = 0; i < config->service_count; i++) {
			const struct service_def *def = &config->service[i];
			if (!sv->service[i].wanted)
				continue;
			grew |= want_new(sv, plan, def->requires, def->requires_count);
			grew |= def->kind != SERVICE_POOL &&
				want_new(sv, plan, def->wants, def->wants_count);
		}
	}
}

static void announce_new_ones(struct supervisor *sv, const struct plan *plan)
{
	for (size_t i = 0; i < plan->config->service_count; i++) {
		if (plan->old[i] >= 0)
			continue;
		bool wanted = sv->service[i].wanted;
		note(wanted ? RELOAD_STARTED : RELOAD_ADDED, sv->instance[i]->def->name);
		sv->instance[i]->reloaded = wanted ? sv->reloads : 0;
	}
}

/* --- what else follows from it */

static int find_staying(const struct supervisor *sv, const char *name)
{
	int index = supervise_find(sv, name);

	return index >= 0 && !sv->instance[index]->leaving ? index : -1;
}

static void follow_machine(const struct supervisor *sv, const struct config *old)
{
	const struct config *new = sv->config;

	if (!sv->machine)
		return;
	if (!old->self && new->self)
		machine_set_name(new->self->name);
	for (size_t i = 0; i < new->sysctl_count; i++) {
		bool same = false;
		for (size_t k = 0; k < old->sysctl_count && !same; k++)
			same = strcmp(old->sysctl[k].name, new->sysctl[i].name) == 0 &&
			       strcmp(old->sysctl[k].value, new->sysctl[i].value) == 0;
		if (!same)
			machine_apply_sysctls(&new->sysctl[i], 1);
	}
}

/* The cluster file is another one. What is expanded from it restarts as ever; a worker that reads
 * it itself does so when it starts next, unless it can be asked to. Nobody's storage goes down for
 * somebody else's share. */
static void follow_cluster(struct supervisor *sv)
{
	for (size_t i = 0; i < sv->config->service_count; i++) {
		struct instance *instance = sv->instance[i];
		struct graph_service *service = &sv->service[i];
		if (!instance->def->reads_cluster || service->renew ||
		    !life_is_active(&service->life) || service->life.starts == 0)
			continue;
		bool asks = instance->policy.reload != LIFE_RELOAD_NONE &&
			    service->life.state == LIFE_READY;
		note(asks ? RELOAD_RELOADED : RELOAD_LATER, instance->def->name);
		if (asks)
			supervise_event(sv, (uint16_t)i, LIFE_RELOAD);
	}
}

static void carry_out(struct supervisor *sv, const struct plan *plan)
{
	struct config *old = sv->config;
	bool other_cluster =
		memcmp(old->cluster_digest, plan->config->cluster_digest, DIGEST_BYTES) != 0;
	bool other_key =
		memcmp(old->identity.secret_key, plan->config->identity.secret_key, KEY_BYTES) != 0;

	release_gone(sv, plan);
	sv->config = plan->config;
	old->older = sv->retired;
	sv->retired = old;
	sv->reloads++;
	renumber(sv, plan);
	for (size_t i = 0; i < sv->count; i++) {
		if (i >= sv->config->service_count)
			leave(sv, (uint16_t)i);
		else if (plan->old[i] >= 0)
			take_or_renew(sv, (uint16_t)i);
	}
	want_new_ones(sv, plan);
	announce_new_ones(sv, plan);
	edges_make(sv);
	sv->gossip = find_staying(sv, "gossip");
	sv->log = find_staying(sv, "log");
	close_unnamed_sockets(sv);
	follow_machine(sv, old);
	if (other_cluster || other_key)
		gossip_link_reload(sv);
	if (other_cluster)
		follow_cluster(sv);
	free_retired(sv);
	if (sv->renumbered)
		sv->renumbered(sv);
}

static void forget_sizes_of_other_pools(struct supervisor *sv)
{
	size_t kept = 0;

	for (size_t i = 0; i < sv->source.pool_size_count; i++) {
		int index = config_find(sv->config, sv->pool_size[i].name);
		if (index >= 0 && sv->config->service[index].kind == SERVICE_POOL)
			sv->pool_size[kept++] = sv->pool_size[i];
	}
	sv->source.pool_size_count = kept;
}

/* What a new size of a pool is put upon are the files that the others run by. */
static void check_unchanged(const struct supervisor *sv, const struct config *new,
			    struct config_report *report)
{
	bool same = memcmp(sv->config->sources, new->sources, DIGEST_BYTES) == 0;

	for (size_t i = 0; i < new->service_count &&same; i++) {
		int index = config_find(sv->config, new->service[i].name);
		same = index < 0 || same_process(&sv->config->service[index], &new->service[i]);
	}
	if (!same)
		config_report_add(report, "services", 0,
				  "their files were changed since they were loaded: supervisor "
				  "reload first, or change them back");
}

static void begin(void)
{
	outcome.count = outcome.kept = 0;
	memset(&outcome.findings, 0, sizeof(outcome.findings));
}

/* For who reads the console. */
static int refused(void)
{
	const struct config_report *report = &outcome.findings;

	for (size_t i = 0; i < report->count && i < CONFIG_FINDINGS_MAX; i++)
		log_warnx("reload refused: %s", report->finding[i]);
	return -1;
}

static int load(struct supervisor *sv, bool only_sizes)
{
	static struct plan plan;
	struct config_report *report = &outcome.findings;
	struct config_source source = sv->source;

	if (sv->goal != GOAL_RUN) {
		config_report_add(report, "reload", 0, "this node is shutting down");
		return refused();
	}
	source.refuse_cycles = only_sizes; /* a cycle that it started with is no news */
	source.pool_size = sv->pool_size;
	struct config *config = config_load(&source, report);
	if (config) {
		check_identity(sv->config, config, report);
		make_plan(sv, config, &plan, report);
		if (only_sizes)
			check_unchanged(sv, config, report);
	}
	if (!config || report->count > 0) {
		config_free(config);
		free_unused_filters(sv);
		return refused();
	}
	carry_out(sv, &plan);
	forget_sizes_of_other_pools(sv);
	free_unused_filters(sv);
	log_info("configuration reloaded: %zu services kept, %zu others", outcome.kept,
		 outcome.count);
	supervise_settle(sv);
	return 0;
}

int reload(struct supervisor *sv)
{
	begin();
	return load(sv, false);
}

static void set_size(struct supervisor *sv, const char *pool, size_t members)
{
	size_t i = 0;

	while (i < sv->source.pool_size_count && strcmp(sv->pool_size[i].name, pool) != 0)
		i++;
	if (members == 0 && i < sv->source.pool_size_count) {
		sv->pool_size[i] = sv->pool_size[--sv->source.pool_size_count];
	} else if (members > 0) {
		snprintf(sv->pool_size[i].name, SERVICE_NAME_BYTES, "%s", pool);
		sv->pool_size[i].members = members;
		if (i == sv->source.pool_size_count)
			sv->source.pool_size_count++;
	}
}

int reload_scale(struct supervisor *sv, const char *pool, size_t members)
{
	struct pool_size before[POOL_SIZES_MAX];
	size_t count = sv->source.pool_size_count;
	int index = config_find(sv->config, pool);

	begin();
	if (index < 0 || sv->config->service[index].kind != SERVICE_POOL)
		config_report_add(&outcome.findings, pool, 0,
				  "it is no pool: its file has no \"instances\"");
	else if (count == POOL_SIZES_MAX)
		config_report_add(&outcome.findings, pool, 0,
				  "%d other pools have another size than their files say already",
				  POOL_SIZES_MAX);
	if (outcome.findings.count > 0)
		return refused();
	memcpy(before, sv->pool_size, sizeof(before));
	set_size(sv, pool, members);
	if (load(sv, true) == 0)
		return 0;
	memcpy(sv->pool_size, before, sizeof(before));
	sv->source.pool_size_count = count;
	return -1;
}

/* --- while things come to rest */

/* Who may reach a socket was settled when it was opened. */
static bool same_admission(const struct service_def *a, const struct service_def *b)
{
	return a->has_user == b->has_user && a->uid == b->uid && a->gid == b->gid &&
	       a->listen_from_count == b->listen_from_count &&
	       (a->listen_from_count == 0 ||
		memcmp(a->listen_from, b->listen_from,
		       a->listen_from_count * sizeof(*a->listen_from)) == 0);
}

void reload_take_next(struct supervisor *sv, uint16_t index)
{
	struct instance *instance = sv->instance[index];
	const struct service_def *old = instance->def;

	instance->only_reload = false;
	if (!instance->next)
		return;
	for (size_t i = 0; i < old->listen_count && !same_admission(old, instance->next); i++)
		listen_close(&sv->sockets, &old->listen[i]);
	instance_take(instance, instance->next);
	instance->next = NULL;
	instance->reason[0] = '\0';
	close_unnamed_sockets(sv);
	free_retired(sv);
	sv->edges_stale = true;
}

static void drop(struct supervisor *sv, size_t index)
{
	instance_release(sv->instance[index]);
	sv->count--;
	for (size_t i = index; i < sv->count; i++) {
		sv->instance[i] = sv->instance[i + 1];
		sv->instance[i]->index = (uint16_t)i;
		sv->service[i] = sv->service[i + 1];
	}
	for (size_t i = 0; i < sv->count; i++)
		sv->service[i].blocker = 0; /* decided anew */
	sv->edges_stale = true;
}

void reload_settle(struct supervisor *sv)
{
	size_t before = sv->count;

	/* On the way to a shutdown, everybody may be in the middle of something. */
	for (size_t i = sv->count; i-- > sv->config->service_count && sv->goal == GOAL_RUN;)
		if (instance_rests(sv->instance[i]))
			drop(sv, i);
	if (sv->count != before) {
		close_unnamed_sockets(sv);
		free_retired(sv);
		if (sv->renumbered)
			sv->renumbered(sv);
	}
	if (sv->edges_stale)
		edges_make(sv);
}
