/*
 * What bench/restart.py measures with:
 *
 *   restart victim FIFO         says in FIFO that it is there, then does nothing
 *   restart loop PROGRAM ARG…   the least a supervisor can do: fork, exec, wait, again
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int victim(const char *path)
{
	char line[16];
	int fd = open(path, O_WRONLY);
	int length = snprintf(line, sizeof(line), "%15d", (int)getpid());

	if (fd < 0 || write(fd, line, (size_t)length) != length)
		return 1;
	close(fd);
	for (;;)
		pause();
}

static int loop(char **argv)
{
	for (;;) {
		pid_t pid = fork();
		if (pid == 0) {
			execv(argv[0], argv);
			_exit(127);
		}
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			return 1;
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "victim") == 0)
		return victim(argv[2]);
	if (argc > 2 && strcmp(argv[1], "loop") == 0)
		return loop(argv + 2);
	fprintf(stderr, "usage: restart victim FIFO | loop PROGRAM ARG...\n");
	return 2;
}
