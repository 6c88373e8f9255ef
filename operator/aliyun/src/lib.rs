//! Typed client of the Alibaba Cloud ECI OpenAPI.
