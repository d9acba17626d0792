// Loads the programs of hand_written.bpf.o whose names begin with a way, and waits to be killed:
//   hand_written hand_written.bpf.o function_exit 2049

#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	struct bpf_program *program;
	struct bpf_map *map;
	size_t size;

	if (argc != 4)
		return 2;
	object = bpf_object__open_file(argv[1], NULL);
	if (!object)
		fail("open");
	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, !strncmp(bpf_program__name(program), argv[2], strlen(argv[2])));
	bpf_object__for_each_map(map, object)
		if (strstr(bpf_map__name(map), ".rodata"))
			*(unsigned short *)bpf_map__initial_value(map, &size) = atoi(argv[3]);
	if (bpf_object__load(object))
		fail("load");
	bpf_object__for_each_program(program, object)
		if (bpf_program__autoload(program) && !bpf_program__attach(program))
			fail("attach");
	printf("nfszbx begin\n");
	fflush(stdout);
	pause();
	return 0;
}
