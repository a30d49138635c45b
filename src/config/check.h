/* Checks a whole directory without running anything of it. */
#ifndef SUPERVISOR_CONFIG_CHECK_H
#define SUPERVISOR_CONFIG_CHECK_H

#include "src/config/config.h"

struct check_summary {
	size_t profiles, services; /* loaded at least once; different names */
	size_t nodes, shares;
	size_t skipped; /* profiles with a role, when there is no cluster.conf */
};

/*
 * source->profile NULL: every profile, and every service file of the directory, also unused ones.
 * source->node NULL and no node.conf: every node of the profile's role. No findings: it is fine.
 */
void config_check(const struct config_source *source, struct config_report *report,
		  struct check_summary *summary);

#endif
