//! Writes the CRD manifests from the types of eci-api.
