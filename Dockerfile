# Three images from one build. Needs neither BuildKit nor a network beyond crates.io and Debian.
#
#   docker build --target worker -t redcall .            redcall-worker and redcall
#   docker build --target gateway -t redcall-gateway .   redcall-gateway
#   docker build --target example -t redcall-example .   the example and Python, for Compose
#
# The first stage determines the dependencies: all manifests, and a stub for the main file of each
# target. It changes only with them, so that a change of our code does not recompile dependencies;
# and it names no crate, so that a new crate needs no change here.
FROM debian:bookworm-slim AS manifests
WORKDIR /src
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -name main.rs ! -name lib.rs \
      ! -name build.rs ! -path '*/bin/*.rs' ! -path '*/tests/*.rs' ! -path '*/benches/*.rs' -delete \
 && find . -type d -empty -delete \
 && find . -name '*.rs' -exec sh -c 'printf "//! A stub.\n#![allow(dead_code)]\nfn main() { }\n" >"$1"' stub {} \;

FROM rust:1.95-bookworm AS build
ENV CARGO_TARGET_DIR=/target CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=false
WORKDIR /src
COPY --from=manifests /src .
RUN cargo build --release --locked -p redcall-worker -p redcall-gateway -p redcall-cli \
      -p redcall-example
COPY . .
# Touched, since cargo would otherwise take the newer stubs as up to date. A stub builds without
# errors, so the versions of the programs are checked.
RUN find . -name '*.rs' -exec touch {} + \
 && cargo build --release --locked -p redcall-worker -p redcall-gateway -p redcall-cli \
      -p redcall-example \
 && for program in redcall-worker redcall-gateway redcall example; do \
      /target/release/$program --version | grep "^$program " || exit 1; done

FROM debian:bookworm-slim AS runtime
# By number, so that `runAsNonRoot` can be verified.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin redcall
# The public certificate authorities, for rediss://. The package would also install OpenSSL.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# redcall.toml goes here.
WORKDIR /app

FROM runtime AS runtime-python
# Not python3-minimal: that one lacks the module `json`.
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/*

FROM runtime-python AS example
COPY --from=build /target/release/example /target/release/redcall /usr/local/bin/
COPY example/redcall.toml example/word_count.py ./
ENV REDCALL_SETTINGS=/app/redcall.toml
USER 10001:10001
# As process 1, without a shell, so that SIGTERM reaches it and it drains.
ENTRYPOINT ["example"]
CMD ["worker"]

FROM runtime AS gateway
COPY --from=build /target/release/redcall-gateway /usr/local/bin/
USER 10001:10001
ENTRYPOINT ["redcall-gateway"]

FROM runtime AS worker
COPY --from=build /target/release/redcall-worker /target/release/redcall /usr/local/bin/
USER 10001:10001
ENTRYPOINT ["redcall-worker"]
