/* Worker `@module NAME…`: loads kernel modules, in the order given, each with what it depends on.
 */
#include "src/base/log.h"
#include "src/node/modules.h"
#include "src/worker/worker.h"

int module_worker(int argc, char **argv)
{
	if (argc < 2) {
		log_warnx("expected at least one module's name");
		return 2;
	}
	for (int i = 1; i < argc; i++)
		if (modules_load(argv[i]) < 0)
			return 1;
	return 0;
}
