/*
 * Messages from the supervising process to the log process, over its channel (SOCK_SEQPACKET, fd
 * 3). Each but LOG_PING carries exactly one descriptor (SCM_RIGHTS). The log process says nothing
 * unasked; a LOG_PING it sends back as it came. Both ends are the same executable: native byte
 * order.
 */
#ifndef SUPERVISOR_LOG_MESSAGE_H
#define SUPERVISOR_LOG_MESSAGE_H

#include <stdint.h>

#include "src/config/service.h"

#define LOG_CHANNEL_FD	  3
#define LOG_MESSAGE_MAGIC 0x6c6f6731u /* "log1" */

enum log_message_type {
	LOG_DIRECTORY = 1, /* the directory that the files go to; first message */
	LOG_STREAM = 2,	   /* the read end of the pipe of service `name` */
	LOG_PING = 3,	   /* are you there? */
};

struct log_message {
	uint32_t magic;
	uint32_t type;
	char name[SERVICE_NAME_BYTES]; /* NUL-padded; "" for LOG_DIRECTORY, LOG_PING */
};

#endif
