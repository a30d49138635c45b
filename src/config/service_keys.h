/* Inside src/config: the table of a service file's keys, used by service.c. */
#ifndef SUPERVISOR_CONFIG_SERVICE_KEYS_H
#define SUPERVISOR_CONFIG_SERVICE_KEYS_H

#include <sodium.h>

#include "src/config/load.h"

#define SERVICE_KEYS_MAX  96
#define READY_FD_MAX	  63
#define RESTART_LIMIT_MAX 16 /* LIFE_RESTARTS_MAX */

/* One service being read. */
struct service_reader {
	struct loader *loader;
	struct source_file *file;
	struct expand_scope scope;
	struct service_draft *draft;
	int line[SERVICE_KEYS_MAX]; /* of each key's (last) line, 0: not given */
	bool has_group;
	crypto_generichash_state digest, live;
	size_t environment_capacity, condition_capacity, listen_capacity, template_capacity,
		limit_capacity;
};

/*
 * The setter of a key: checks the words and puts them where `field` points, in the draft. False
 * when reported. Those of the keys about processes are in service_keys_process.c, those about the
 * life cycle in service_keys_life.c.
 */
typedef bool key_setter(struct service_reader *reader, const struct place *place,
			const struct words *words, void *field);
key_setter key_scheduling, key_cpu_affinity, key_cpu_max, key_weight, key_io_class;
key_setter key_command, key_ready, key_restart, key_success_exit, key_restart_limit, key_on_limit,
	key_when_lost, key_check, key_check_retries;

/* Expands and checks the line and puts it into the draft. False when reported. */
bool service_key_set(struct service_reader *reader, const struct line *line);
/* The line that gave this key, 0 if none did. */
int service_key_line(const struct service_reader *reader, const char *name);

#endif
