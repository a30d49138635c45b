/* The log process (`start = @log`): drains the output of all services into files. */
#ifndef SUPERVISOR_LOG_LOG_PROCESS_H
#define SUPERVISOR_LOG_LOG_PROCESS_H

int log_worker(int argc, char **argv);

#endif
