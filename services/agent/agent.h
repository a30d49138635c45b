/*
 * The host's way into a VM: the worker `@agent` answers requests that arrive on virtio-serial ports
 *named "supervisor.ctl" (and "supervisor.ctl.2", …: one request at a time on each). Who may open
 *the other end is the host's matter: it owns the machine anyway. Nothing but this same executable
 *is ever run, and no shell.
 *
 * Frame, both directions, numbers most significant byte first:
 *
 *	0   4  AGENT_MAGIC
 *	4   8  session: random bytes that the host draws for each of its connections
 *	12  1  type
 *	13  3  zero
 *	16  4  length of the payload
 *	20  4  host to VM: CRC-32 (as in zlib) of the 20 bytes before and the payload; VM to host:
 *zero 24     payload
 *
 * The port is one byte stream for the life of the VM, while clients on the host come and go, may
 *leave half a frame behind, and not every going is noticed here, nor at once. Hence a request
 *counts only where it stands whole with its checksum, whatever comes before it; the VM drops what
 *it was doing for an earlier session when the port hangs up or a request brings another session;
 *and the host takes no frame of a session not its own.
 *
 * Host to VM                                        VM to host
 *	AGENT_RUN     arguments, each NUL-terminated      AGENT_STDOUT, AGENT_STDERR  bytes of the
 *command AGENT_READ    an absolute path                    AGENT_EXIT     1 byte: exit code, or 128
 *+ signal AGENT_SIGNAL  "PID SIGNAL", decimal               AGENT_REFUSED  why nothing was done
 *
 * An agent that is told to end refuses what it was doing. A request that comes in that very moment,
 *or to one that is killed, is lost: clients have timeouts.
 *
 * A RUN ends with EXIT; READ sends the file as STDOUT and ends with EXIT 0 (at most AGENT_FILE_MAX
 *bytes, a longer file is refused where its length is known and else ends with EXIT 1); SIGNAL ends
 *with EXIT 0. REFUSED ends any of them.
 */
#ifndef SUPERVISOR_SERVICES_AGENT_H
#define SUPERVISOR_SERVICES_AGENT_H

#include <stddef.h>
#include <stdint.h>

#define AGENT_MAGIC	"sVa1"
#define AGENT_PORT_NAME "supervisor.ctl"

enum {
	AGENT_HEADER = 24,
	AGENT_REQUEST_MAX = 4096, /* payload bytes, host to VM */
	AGENT_ANSWER_MAX = 16384, /* payload bytes, VM to host */
	AGENT_ARGS_MAX = 64,
	AGENT_PORTS_MAX = 8,
	AGENT_FILE_MAX = 4 << 20,
};

enum agent_type {
	AGENT_RUN = 1,
	AGENT_READ = 2,
	AGENT_SIGNAL = 3,
	AGENT_STDOUT = 17,
	AGENT_STDERR = 18,
	AGENT_EXIT = 19,
	AGENT_REFUSED = 20,
};

struct agent_header {
	uint8_t session[8];
	uint8_t type;
	uint32_t length;
};

/*
 * Looks for a whole request in bytes[0..count), whatever stands before it. Sets *skip to the bytes
 * to be dropped first: all before the request, or if there is none, all that cannot be the
 * beginning of one. Returns 1 with *header filled and the payload behind the header at bytes +
 * *skip, or 0. Pure.
 */
int agent_find_request(const uint8_t *bytes, size_t count, size_t *skip,
		       struct agent_header *header);
/* The header of an answer. */
void agent_put_header(uint8_t bytes[AGENT_HEADER], const struct agent_header *header);

#endif
