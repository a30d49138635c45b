/* Inside src/config: from the files to drafts (one service each, its dependencies still names).
 * config.c joins them. */
#ifndef SUPERVISOR_CONFIG_LOAD_H
#define SUPERVISOR_CONFIG_LOAD_H

#include <sodium.h>

#include "src/config/config.h"
#include "src/config/expand.h"
#include "src/config/values.h"

#define DIRECTORY_DEFAULT "/etc/supervisor"
#define ACCOUNTS_DEFAULT  "/etc"
#define SERVICE_FILES_MAX 1024

/* A service or profile file: of the directory, or built in. */
struct source_file {
	const char *name;   /* "share@", "lighttpd": without its suffix */
	const char *shown;  /* in messages: path, or "(built-in)/services/…" */
	const char *folder; /* "services/share": where its template files lie, below the directory
			       or built in */
	const char *text;   /* NULL: not read yet, its path is `shown` */
	size_t size;
};

/* All service files, those of the directory in place of built-in ones of the same name. */
struct source_files {
	struct source_file *file;
	size_t count;
};

struct loader {
	struct arena *arena;   /* what the configuration keeps */
	struct arena *scratch; /* what only loading needs */
	struct config_report *report;
	const struct config_source *source;
	const char *directory;	   /* the source's, or the default */
	struct expand_scope scope; /* instance: set for each service */
	struct accounts accounts;
	struct source_files services;
	crypto_generichash_state *texts; /* every text read goes in; NULL: nobody asks */
};

struct dependency_names {
	struct words words;
	int line;
};

struct service_draft {
	struct service_def def;
	struct dependency_names requires, wants, after, conflicts;
	int64_t instances; /* 0: none given */
	bool failed;	   /* reported */
};

/* Lists the *.service files (or *.profile, by suffix and folder) of the directory and built in.
 * False when reported. */
bool source_files_find(struct loader *loader, const char *folder, const char *suffix,
		       struct source_files *files);
/* Reads it unless it was. False when reported. */
bool source_file_load(struct loader *loader, struct source_file *file);
struct source_file *source_file_by_name(const struct source_files *files, const char *name,
					size_t length);
/* A text that the configuration is made from, for struct config's `sources`. */
void source_note(struct loader *loader, const char *shown, const char *text, size_t size);
/* A template file of a service. NULL when reported. */
const char *source_template(struct loader *loader, const struct place *place,
			    const struct source_file *service, const char *name,
			    const struct expand_scope *scope, size_t *size);

/*
 * Reads one service. `name` is its full name, `instance` what follows "@", or the number of a
 * pool's member, or NULL. Everything is reported; draft->failed tells.
 */
void service_read(struct loader *loader, struct source_file *file, const char *name,
		  const char *instance, struct service_draft *draft);
/* What the file says with `instances`, 0 if nothing or nothing sensible: service_read reports that.
 */
size_t service_pool_size(struct loader *loader, struct source_file *file);
/* "NAME" or "NAME@INSTANCE", below SERVICE_NAME_BYTES. */
bool service_name_good(const char *name);

struct profile {
	const char *role; /* NULL: any */
	struct words boot_modules, services, on_request;
	struct sysctl_def *sysctl;
	size_t sysctl_count;
	struct watchdog_def watchdog;
	uint32_t shutdown_timeout_ms;
	const char *file;
	int services_line;
};

/* boot_only: without sysctl and services, which may hold variables. False when reported. */
bool profile_read(struct loader *loader, struct source_file *file, bool boot_only,
		  struct profile *profile);

/* Brings the drafts into an order where each comes after what it needs; order[i] = draft. False
 * when cycles were reported. */
bool order_drafts(struct loader *loader, struct service_draft *const *draft, size_t count,
		  uint16_t *order);

#endif
