/* storm N: N processes that end at once and are left to whoever takes orphans, 500 at a time. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_ONCE 500

static void leave_orphans(int count)
{
	while (count > 0) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		if (pid < 0)
			usleep(1000); /* a shortage */
		else
			count--;
	}
	_exit(0); /* with all of them unreaped */
}

int main(int argc, char **argv)
{
	int left = argc > 1 ? atoi(argv[1]) : 1;

	while (left > 0) {
		int count = left < AT_ONCE ? left : AT_ONCE;
		pid_t pid = fork();
		if (pid == 0)
			leave_orphans(count);
		if (pid < 0) {
			usleep(1000);
			continue;
		}
		waitpid(pid, NULL, 0);
		left -= count;
	}
	return 0;
}
