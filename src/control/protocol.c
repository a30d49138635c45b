#include "src/control/protocol.h"

#include <string.h>

#include "src/config/config.h"

bool control_request_valid(const void *data, size_t bytes)
{
	struct control_request request;

	if (bytes != sizeof(request))
		return false;
	memcpy(&request, data, sizeof(request));
	if (request.verb == CONTROL_SHUTDOWN &&
	    (request.number < CONTROL_POWEROFF || request.number > CONTROL_KEXEC))
		return false;
	if (request.verb == CONTROL_SCALE &&
	    (request.number < 0 || request.number > POOL_MEMBERS_MAX))
		return false;
	return request.magic == CONTROL_MAGIC && request.verb > 0 &&
	       request.verb < CONTROL_VERBS_END &&
	       (request.flags & ~(CONTROL_FORCE | CONTROL_NO_WAIT)) == 0 &&
	       memchr(request.name, '\0', sizeof(request.name)) != NULL;
}
