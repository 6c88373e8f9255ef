module eci-operator.io/e2e/peers/driver

go 1.26.0
