/* The supervising process from its first line on: PID 1 of a machine, PID 1 of a container, or a
 * subreaper. */
#ifndef SUPERVISOR_SUPERVISE_MAIN_H
#define SUPERVISOR_SUPERVISE_MAIN_H

/* argv as of main(): --profile=NAME [--node=NAME] [--config=DIR] [--run=DIR]. Returns an exit code;
 * PID 1 of a machine never returns. */
int supervise_main(int argc, char **argv);

#endif
