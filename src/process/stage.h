/* The steps between fork and exec, in their order: what a child that failed says about where it
 * failed. */
#ifndef SUPERVISOR_PROCESS_STAGE_H
#define SUPERVISOR_PROCESS_STAGE_H

enum spawn_stage {
	STAGE_NONE, /* nothing failed */
	STAGE_CGROUP,
	STAGE_SESSION,
	STAGE_SIGNALS,
	STAGE_DESCRIPTORS,
	STAGE_ENVIRONMENT,
	STAGE_RUNTIME_DIRECTORY, /* index: which of service->runtime_directories */
	STAGE_TEMPLATE,		 /* index: which of service->template */
	STAGE_LIMIT,		 /* index: which of service->limit */
	STAGE_NICE,
	STAGE_SCHEDULING,
	STAGE_CPU_AFFINITY,
	STAGE_IO_CLASS,
	STAGE_OOM_SCORE,
	STAGE_NETWORK,
	STAGE_MOUNT_NAMESPACE,
	STAGE_HIDDEN, /* index: which of service->hidden */
	STAGE_ROOT,
	STAGE_PRIVATE_TMP,
	STAGE_DIRECTORY,
	STAGE_SECUREBITS,
	STAGE_GROUPS,
	STAGE_USER,
	STAGE_CAPABILITIES,
	STAGE_NO_NEW_PRIVILEGES,
	STAGE_SECCOMP,
	STAGE_EXEC,
	STAGE_COUNT
};

#endif
