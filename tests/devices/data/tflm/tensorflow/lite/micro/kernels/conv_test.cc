#error "tests are no part of the library"
