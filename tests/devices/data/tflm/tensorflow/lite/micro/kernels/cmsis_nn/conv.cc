#error "CMSIS-NN is not there"
