/*
 * Looks like nfsd to the script: memory laid out by the offsets that -D names, and calls where nfsd
 * has its tracepoint and its function. What is to be counted stands in test_operations_script.py.
 */
#include <stdint.h>
#include <string.h>
#include <arpa/inet.h>
static char task[8192], thread[256], rqstp[65536], argp[4096], resp[8192], ops[64 * 1024];
static char ex[512], mnt[512], root[512], directory[512], inode[1024];
#define PUT(type, base, offset, value) (*(type *)((base) + (offset)) = (type)(value))
__attribute__((noinline)) void compound_status(uint32_t asked, uint32_t done, uint32_t status, void *t) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void read_io_done(void *t, void *fh, uint64_t offset, uint32_t len) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void write_io_done(void *t, void *fh, uint64_t offset, uint32_t len) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) void cache_update(void *r) { __asm__ volatile("" ::: "memory"); }
static void client(int v6, const char *text) {
	char *a = rqstp + RQ_ADDR;
	memset(a, 0, 28);
	PUT(uint16_t, a, 0, v6 ? 10 : 2);
	inet_pton(v6 ? 10 : 2, text, a + (v6 ? 8 : 4));
}
static uint32_t moved[64]; /* by each operation */
static void compound(int minor, const int *numbers, int count, uint32_t status) {
	char *fh = resp + RES_CURRENT_FH;
	PUT(uint32_t, rqstp, RQ_VERS, 4);
	PUT(uint32_t, argp, ARGS_MINORVERSION, minor);
	for (int i = 0; i < count; i++) {
		PUT(uint32_t, ops, i * OP_SIZE + OP_NUM, numbers[i]);
		PUT(uint32_t, ops, i * OP_SIZE + OP_STATUS, i + 1 < count ? 0 : status);
		PUT(uint32_t, resp, RES_OPCNT, i + 1);
		if (i + 1 < count || !status) {
			if (numbers[i] == 25 || numbers[i] == 68) read_io_done(task, fh, 0, moved[i]);
			if (numbers[i] == 38) write_io_done(task, fh, 0, moved[i]);
		}
	}
	for (int i = 1; i < count; i++) compound_status(count + (status != 0), i, 0, task);
	compound_status(count + (status != 0), count, status, task);
}
#define COMPOUND(minor, status, ...) do { int n[] = {__VA_ARGS__}; compound(minor, n, sizeof n / sizeof *n, status); memset(ops, 0, sizeof ops); } while (0)
#define OP(i, offset, type, value) PUT(type, ops, (i) * OP_SIZE + (offset), value)
int main(void) {
	PUT(void *, task, TASK_KTHREAD, thread); PUT(void *, thread, KTHREAD_DATA, rqstp);
	PUT(void *, rqstp, RQ_ARGP, argp); PUT(void *, rqstp, RQ_RESP, resp);
	PUT(void *, argp, ARGS_RQSTP, rqstp);
	PUT(void *, argp, ARGS_OPS, ops); PUT(void *, resp, RES_RQSTP, rqstp);
	char *fh = resp + RES_CURRENT_FH;
	PUT(uint32_t, fh, FH_MAXSIZE, 128);
	PUT(void *, ex, EX_MNT, mnt); PUT(void *, ex, EX_DENTRY, root);
	PUT(void *, mnt, MNT_ROOT, root); PUT(uint64_t, mnt, MNT_ID, 101);
	PUT(void *, directory, D_INODE, inode); PUT(uint64_t, inode, I_INO, 4711);
	PUT(uint32_t, rqstp, RQ_UID, 1000);
	client(0, "192.0.2.7");
	moved[2] = 1000;
	COMPOUND(1, 0, 53, 24, 25, 9);                       /* no export */
	PUT(void *, fh, FH_EXPORT, ex);
	client(1, "2001:db8::7");
	moved[2] = 4096;
	COMPOUND(0, 13, 22, 9, 25);                          /* a read that failed */
	PUT(void *, ex, EX_DENTRY, directory);
	for (int i = 0; i < 20; i++) moved[i] = 77;
	COMPOUND(2, 2, 53, 22, 9, 9, 9, 9, 9, 9, 9, 9, 38, 9, 9, 38, 9, 9, 9, 9, 9, 15);
	moved[2] = 904; moved[3] = 0;
	COMPOUND(2, 0, 53, 22, 68, 68);                      /* the second at the end of the file */
	OP(2, OP_CP_BYTES, uint64_t, 5000000000);
	COMPOUND(2, 0, 53, 22, 60, 5);                       /* COMMIT comes with it */
	OP(2, OP_CP_BYTES, uint64_t, 0);
	COMPOUND(0, 10044, 10044);
	COMPOUND(0, 0, 22, 3, 9, 9, 9, 9, 9, 9);             /* exactly a chunk */
	/* version 3 */
	PUT(uint32_t, rqstp, RQ_PROG, 100003); PUT(uint32_t, rqstp, RQ_VERS, 3);
	memset(resp, 0, sizeof resp);
	PUT(uint32_t, resp + NFS3_FH, FH_MAXSIZE, 64);
	PUT(void *, resp + NFS3_FH, FH_EXPORT, ex);
	PUT(uint32_t, rqstp, RQ_PROC, 6); read_io_done(task, resp, 0, 300); cache_update(rqstp);
	PUT(uint32_t, rqstp, RQ_PROC, 7); write_io_done(task, resp, 0, 300); cache_update(rqstp);
	PUT(uint32_t, resp, 0, htonl(70)); cache_update(rqstp);   /* ESTALE */
	PUT(uint32_t, resp, 0, 0);
	PUT(uint32_t, rqstp, RQ_PROC, 19); cache_update(rqstp);
	PUT(uint32_t, rqstp, RQ_PROC, 0); cache_update(rqstp);
	PUT(uint32_t, rqstp, RQ_PROG, 100227); PUT(uint32_t, rqstp, RQ_PROC, 1); cache_update(rqstp);
	PUT(uint32_t, rqstp, RQ_PROG, 100021); cache_update(rqstp);
	PUT(uint32_t, rqstp, RQ_PROG, 100003); PUT(uint32_t, rqstp, RQ_VERS, 4); cache_update(rqstp);
	PUT(uint32_t, rqstp, RQ_PROC, 0); cache_update(rqstp);
	return 0;
}
