/*
 * The only program of a VM whose boot is measured (boot.py): it tells how long the machine has been
 * running and powers it off. The time-stamp counter starts with the machine; in an instruction-
 * counted run of QEMU (-icount shift=0) it counts instructions.
 */
#include <stdio.h>
#include <sys/reboot.h>
#include <x86intrin.h>

int main(void)
{
	printf("READY %llu\n", (unsigned long long)__rdtsc());
	fflush(stdout);
	reboot(RB_POWER_OFF);
}
