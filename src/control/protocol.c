#include "src/control/protocol.h"

#include <string.h>

bool control_request_valid(const void *data, size_t bytes)
{
	struct control_request request;

	if (bytes != sizeof(request))
		return false;
	memcpy(&request, data, sizeof(request));
	if (request.verb == CONTROL_SHUTDOWN &&
	    (request.number < CONTROL_POWEROFF || request.number > CONTROL_KEXEC))
		return false;
	return request.magic == CONTROL_MAGIC && request.verb > 0 &&
	       request.verb < CONTROL_VERBS_END &&
	       (request.flags & ~(CONTROL_FORCE | CONTROL_NO_WAIT)) == 0 &&
	       memchr(request.name, '\0', sizeof(request.name)) != NULL;
}
