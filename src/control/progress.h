/* How far the services have got with what a client of the control socket waits for. */
#ifndef SUPERVISOR_CONTROL_PROGRESS_H
#define SUPERVISOR_CONTROL_PROGRESS_H

#include "src/control/protocol.h"
#include "src/supervise/supervise.h"

enum progress {
	PROGRESS_UNDER_WAY,
	PROGRESS_THERE,
	PROGRESS_STUCK, /* will not get there by itself */
};

/* A start, stop, restart or reload of one service; starts_before: restart is done only after a
 * start later than this. */
enum progress progress_of(const struct supervisor *supervisor, enum control_verb verb,
			  uint16_t index, uint32_t starts_before);
/*
 * A reload of the configuration, the number-th: those who were to stop are gone, those who were to
 * start have got as far as they can. STUCK: some have failed, named in `text`.
 */
enum progress progress_of_reload(const struct supervisor *supervisor, uint32_t number, char *text,
				 size_t text_bytes);

#endif
