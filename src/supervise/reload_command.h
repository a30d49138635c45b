/*
 * `reload = COMMAND` of a service: runs beside its main process, as the same user and in the same
 * sandbox, with MAINPID in its environment, and has as long as a start. When it has ended well, the
 * service is ready again; otherwise it goes on as before, and `status` says what went wrong until
 * the next reload or start.
 */
#ifndef SUPERVISOR_SUPERVISE_RELOAD_COMMAND_H
#define SUPERVISOR_SUPERVISE_RELOAD_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/service/life.h"
#include "src/supervise/helper.h"

struct instance;

struct reload_command {
	struct helper helper;
	uint64_t again_at_ms; /* it could not be started just now: next try; 0: none */
	bool over;	      /* it could not be started: LIFE_BECAME_READY is due */
	bool says_it_reloads; /* RELOADING=1 came meanwhile, and READY=1 has to follow */
	char problem[HELPER_TEXT_BYTES + 32]; /* "reload failed: …", "": the last one went well */
};

void reload_command_init(struct instance *instance);
void reload_command_start(struct instance *instance);
/* After every step of its life. */
void reload_command_follow(struct instance *instance, enum life_state before);
/* It did not end in time: `time`, as text. Or the service, which said RELOADING=1, did not say
 * more.
 */
void reload_command_late(struct instance *instance, const char *time);
/* sd_notify: RELOADING=1, READY=1. False: that is no matter of this. */
bool reload_command_reloading(struct instance *instance);
bool reload_command_ready(struct instance *instance);
/* Carries out what is due: true if the service is ready again. */
bool reload_command_due(struct instance *instance);

#endif
