/*
 * What a service may do, applied in its own process between fork and exec. Every step that fails is
 * fatal to that start. sandbox.c says why each step stands where it stands.
 */
#ifndef SUPERVISOR_PROCESS_SANDBOX_H
#define SUPERVISOR_PROCESS_SANDBOX_H

#include <stdint.h>

#include "src/config/service.h"
#include "src/process/seccomp.h"
#include "src/process/stage.h"

/* What must be allocated beforehand, by the parent. */
struct sandbox_plan {
	void *capabilities; /* cap_t of libcap; NULL with `capabilities = all` and no user */
	uint64_t mask;	    /* bit N = CAP_N */
};

struct sandbox_failure {
	enum spawn_stage stage;
	uint32_t index;
};

/* 0, or -1 with errno ENOMEM. */
int sandbox_prepare(const struct service_def *service, struct sandbox_plan *plan);
void sandbox_release(struct sandbox_plan *plan);

/*
 * In the child, async-signal-safe. run_dir/empty is the root of `root = empty`. ticket: see
 * seccomp.h, for the exec that follows; 0 without a filter. 0, or -1 with errno and *failure.
 */
int sandbox_apply(const struct service_def *service, const struct sandbox_plan *plan,
		  const struct seccomp_program *seccomp, const char *run_dir, uint64_t *ticket,
		  struct sandbox_failure *failure);

#endif
