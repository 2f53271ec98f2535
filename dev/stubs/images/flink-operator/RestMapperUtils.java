package org.apache.flink.runtime.rest.util;

import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.DeserializationFeature;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.SerializationFeature;

/**
 * Takes the place of the class of Flink 1.17, whose REST client rejects an answer with a field that it does not know.
 * Flink 1.20 sends some of them for each job, and without this class the operator's autoscaler cannot read one.
 */
public final class RestMapperUtils {
    private static final ObjectMapper MAPPER =
            new ObjectMapper()
                    .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
                    .disable(SerializationFeature.FAIL_ON_EMPTY_BEANS);

    private RestMapperUtils() {}

    public static ObjectMapper getStrictObjectMapper() {
        return MAPPER;
    }
}
