# Short names for the commands of README.md; the scripts do the work.
.PHONY: build test e2e
build:
	scripts/build.sh
test:
	scripts/test.sh
# What needs containers: installs Debian's podman, docker-registry and the like, builds, runs tests/containers/.
e2e:
	scripts/e2e.sh
