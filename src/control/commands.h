/*
 * The verbs of the command line, one file each (cmd_NAME.c), listed in the table of supervisor.c.
 * argv[0] is the verb. Exit codes: 0 fine, 1 no, 2 wrong usage.
 */
#ifndef SUPERVISOR_CONTROL_COMMANDS_H
#define SUPERVISOR_CONTROL_COMMANDS_H

int cmd_check(int argc, char **argv);
int cmd_fcgi(int argc, char **argv);
int cmd_halt(int argc, char **argv);
int cmd_keygen(int argc, char **argv);
int cmd_kill(int argc, char **argv);
int cmd_log(int argc, char **argv);
int cmd_members(int argc, char **argv);
int cmd_poweroff(int argc, char **argv);
int cmd_reboot(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_restart(int argc, char **argv);
int cmd_scale(int argc, char **argv);
int cmd_start(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_stop(int argc, char **argv);

#endif
